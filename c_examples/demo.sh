#!/bin/sh
# What `make demo` shows: a C program and a Python script that share one file while both run.
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
asking=
answering=
trap 'kill $asking $answering 2>/dev/null || true; rm -rf "$folder"' EXIT
file=$folder/shared.bin

cat <<END

A C program and a Python script, two processes that nothing connects but the name of a file, map
    $file
into their memory. The C program writes 1000 questions there, one after the other; the Python script looks at the same
bytes and writes an answer behind each. Neither makes a read or write call for that, nor sends anything: they store
to memory, and the other one finds it in its own. Each waits for the other, so both have to run at the same time.

END
build/examples/two_programs "$file" "$folder/seen-by-c" &
asking=$!
${PYTHON:-python3} python/examples/two_programs.py "$file" "$folder/seen-by-python" &
answering=$!
wait $asking || { echo "The demo failed: the C program ended with $?."; exit 1; }
asking=
wait $answering || { echo "The demo failed: the Python script ended with $?."; exit 1; }
answering=

echo
for seen in c python; do
    if ! cmp "$file" "$folder/seen-by-$seen"; then
        echo "The demo failed: the file does not hold what the $seen program saw in its memory."
        exit 1
    fi
done
bytes=$(wc -c <"$file")
answers=$(tr '\0' '\n' <"$file" | grep -c '^Python has seen: question [0-9]* from C$' || true)
if [ "$answers" != 1000 ]; then
    echo "The demo failed: the file holds $answers answers, not 1000."
    exit 1
fi
echo "Now both have ended. The file on disk was compared with the memory of each, byte by byte: all $bytes bytes are"
echo "the same in the file, in the C program and in the Python script, and the file holds all $answers answers."
echo
