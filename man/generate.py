#!/usr/bin/env python3
"""Makes the man pages: `man/generate.py include/mapshare.h VERSION FOLDER` writes FOLDER/man3 and FOLDER/man7.

The header's comments are the only source: its head becomes mapshare(7), each function and each struct with fields a
page of section 3. It relies on the form that CONTRIBUTING.md asks for: a sentence, @param, @return with a line for each
code, and Threads, Signals, Blocks, Processes, Fork, Source.
"""

import datetime
import os
import pathlib
import re
import sys
import textwrap

WIDTH = 76
LABELS = ("Threads", "Signals", "Blocks", "Processes", "Fork", "Source")
CODE = r"-E[A-Z0-9]+"


# ---- The header, taken apart

def paragraphs(lines):
    """Groups of lines that blank lines separate."""
    group = []
    for line in [*lines, ""]:
        if line.strip():
            group.append(line)
        elif group:
            yield group
            group = []


def one_line(lines):
    return " ".join(line.strip() for line in lines)


class Code(str):
    """Lines that stay as they are; they stand further in than the text around them."""


def paragraph(group):
    if all(line.startswith("  ") for line in group):
        return Code(textwrap.dedent("\n".join(group)))
    return one_line(group)


def inside(comment):
    """A comment's lines without its frame of stars."""
    lines = comment.strip().splitlines()
    return [re.sub(r"^\s*\* ?", "", line).rstrip() for line in lines]


def first_clause(text):
    return re.split(r"[.:;](?:\s|$)", text)[0]


def capitalised(text):
    return text[0].upper() + text[1:]


class Entity:
    """What one comment of the header speaks of: a function, a struct, an opaque type or a constant."""

    def __init__(self, comment, declaration):
        self.lines = inside(comment)
        self.declaration = declaration
        self.text = [paragraph(group) for group in paragraphs(self.lines)]

    @property
    def summary(self):
        """The first clause, as apropos(1) shows it."""
        clause = first_clause(self.text[0])
        return clause if clause[1].isupper() else clause[0].lower() + clause[1:]


class Constant(Entity):
    def __init__(self, comment, declaration):
        super().__init__(comment, declaration)
        self.name, self.value = re.match(r"#define (\w+) (.+)", declaration).groups()
        # "mapshare_options.flags, with MAPSHARE_CREATE: what it does": where it belongs, and what it does.
        text = " ".join(self.text)
        place = re.match(r"(mapshare_\w+)(?:\.(\w+)| (\w+))?(?:, ([^:]+))?: ", text)
        self.owner, self.field, condition = None, None, None
        if place:
            self.owner, condition = place[1], place[4]
            self.field = place[2] or place[3]
            text = text[place.end():]
        self.meaning = capitalised(f"{condition}: {text}" if condition else text)


class Struct(Entity):
    def __init__(self, comment, declaration):
        super().__init__(comment, declaration)
        self.name = re.match(r"typedef struct (\w+)", declaration)[1]
        fields = re.findall(r"/\*\*(.*?)\*/\s*(.*?);", declaration, re.S)
        self.fields = [(field.split()[-1].lstrip("*"), one_line(inside(text))) for text, field in fields]

    @property
    def code(self):
        return re.sub(r"\s*/\*\*.*?\*/", "", self.declaration, flags=re.S)


class Function(Entity):
    def __init__(self, comment, declaration):
        super().__init__(comment, declaration)
        self.name = re.search(r"(\w+)\(", declaration)[1]
        self.parameters, self.result, self.errors, self.notes = [], "", [], {}
        self.text, self.more = [], []  # before the parameters, and after the results
        for group in paragraphs(self.lines):
            self.take_paragraph(group)

    def take_paragraph(self, group):
        tagged = next((number for number, line in enumerate(group) if line.startswith("@")), len(group))
        if tagged and self.result and re.match(rf"  {CODE}", group[0]):
            self.take_errors(group)
        elif tagged:
            self.take_prose(paragraph(group[:tagged]))
        tags = []
        for line in group[tagged:]:
            if line.startswith("@"):
                tags.append([])
            tags[-1].append(line)
        for lines in tags:
            if lines[0].startswith("@param "):
                _, name, text = re.match(r"(@param) (\w+) +(.*)", one_line(lines)).groups()
                self.parameters.append((name, text))
            else:
                lines[0] = lines[0].removeprefix("@return ")
                self.take_result(lines)

    def take_prose(self, text):
        """Prose up to the first label belongs to the description, and each label to the notes."""
        parts = [text] if isinstance(text, Code) else re.split(rf"(?:^|(?<=[.;?]) )({'|'.join(LABELS)}): ", text)
        if parts[0]:
            (self.more if self.result else self.text).append(parts[0])
        for label, note in zip(parts[1::2], parts[2::2]):
            self.notes[label] = f"{self.notes[label]} {note}" if label in self.notes else note

    def take_result(self, lines):
        """What is returned when all is well, and a list of codes; either may be all in one sentence."""
        items = [number for number, line in enumerate(lines) if number and re.match(rf"  {CODE}", line)]
        if not items:
            whole = one_line(lines)
            split = re.search(rf"[,;] (?:or )?(?={CODE})|[,;] or (?=(?:the|all) codes)", whole)
            self.result, rest = (whole[:split.start()], whole[split.end():]) if split else (whole, "")
            if rest:
                self.errors.append(("", rest))
            return
        self.result = re.sub(r"[,;.]? or:?$", "", one_line(lines[:items[0]]), flags=re.I)
        self.take_errors(lines[items[0]:])

    def take_errors(self, lines):
        for line in lines:
            if re.match(r"  \S", line):
                codes, text = re.match(rf"  ({CODE}(?:, {CODE})*):? +(.*)|", line).groups()
                self.errors.append((codes, text) if codes else ("", line.strip()))
            else:
                codes, text = self.errors[-1]
                self.errors[-1] = (codes, f"{text} {line.strip()}")

    @property
    def code(self):
        """The declaration, a parameter in each line where it does not fit into one."""
        whole = re.sub(r"\s+", " ", self.declaration)
        if len(whole) <= WIDTH:
            return whole
        start, arguments = whole.split("(", 1)
        return f"{start}(\n    " + arguments.replace(", ", ",\n    ")


class Header:
    def __init__(self, text):
        head, rest = text.split("*/", 1)
        self.head = inside(head.removeprefix("/*"))
        self.constants, self.structs, self.functions = [], [], []
        kinds = (r"#define \w+ [^\n]+", r"typedef struct \w+ \w+;", r"typedef struct \w+ \{.*?\n\} \w+;", r"[^#/]*?;")
        for comment, declaration in re.findall(rf"/\*\*(.*?)\*/\n({'|'.join(kinds)})", rest, re.S):
            if declaration.startswith("#define"):
                self.constants.append(Constant(comment, declaration))
            elif declaration.startswith("typedef"):
                self.structs.append(Struct(comment, declaration))
            else:
                self.functions.append(Function(comment, declaration))
        self.functions_by_name = {function.name for function in self.functions}
        self.pages = self.functions_by_name | {struct.name for struct in self.structs if struct.fields}

    def constants_of(self, owner, field=None):
        return [one for one in self.constants if one.owner == owner and field in (None, one.field)]


# ---- roff

def escape(text):
    for letter, name in (("\\", "\\(rs"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(letter, name)
    return text


def bold(text):
    return f"\\fB{escape(text)}\\fR"


def italic(text):
    return f"\\fI{escape(text)}\\fR"


class Page:
    """The lines of one page."""

    def __init__(self, header, name, section, version, date, summary):
        self.header, self.name, self.section = header, name, section
        self.references = set()
        self.lines = [f'.TH {name.upper()} {section} {date} "mapshare {version}" "mapshare"', ".nh", ".ad l"]
        self.heading("NAME")
        self.fold(f"{name} \\- {escape(summary)}")

    def heading(self, title):
        self.lines.append(f".SH {title}" if " " not in title else f'.SH "{title}"')

    def mark(self, word):
        """One word of prose, with the font that its kind has."""
        if match := re.match(r"`(.+)`(\W*)$", word):
            name = match[1].replace("\0", " ")
            return italic(name) + escape(match[2])
        pattern = r"(\W*?)((?:mapshare_\w+|MAPSHARE_\w+|-E[A-Z0-9]+|[a-z_0-9]+(?=\(\d)))((?:\(\d\w*\))?)(.*)$"
        match = re.match(pattern, word)
        if not match:
            return escape(word)
        before, name, section, after = match.groups()
        if name in self.header.pages and name != self.name and not re.match(r"\.\w|\(", after):
            section = "(3)"
        if section and (name, section) != (self.name, f"({self.section})"):
            self.references.add((section[1:-1], name))
        after = after.removeprefix("()") if section else after
        return escape(before) + bold(name) + escape(section + after)

    def prose(self, text):
        """A text, with each sentence on a line of its own, folded where it is long."""
        text = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)
        for sentence in re.split(r"(?<=[.?!]) (?=[A-Z\"`])", text):
            self.fold(" ".join(self.mark(word) for word in sentence.split(" ")))

    def fold(self, marked):
        for line in textwrap.wrap(marked, WIDTH, break_long_words=False, break_on_hyphens=False):
            self.lines.append(("\\&" if line[0] in ".'" else "") + line)

    def paragraphs(self, texts, first=True):
        for number, text in enumerate(texts):
            if number or not first:
                self.lines.append(".PP")
            self.block(text) if isinstance(text, Code) else self.prose(text)

    def entries(self, pairs, font=bold, width=None):
        """A list of terms, each with a text."""
        for term, text in pairs:
            self.lines += [".TP" if width is None else f".TP {width}", font(term)]
            self.prose(text)

    def block(self, code):
        self.lines += [".in +4n", ".EX"]
        for line in code.rstrip().splitlines():
            line = escape(line)
            self.lines.append(("\\&" if line[:1] in ".'" else "") + line)
        self.lines += [".EE", ".in", ".nh"]  # .EE lets words be broken again

    def synopsis(self, code):
        self.heading("SYNOPSIS")
        self.lines += [".nf", bold("#include <mapshare.h>"), ".PP"]
        self.lines += [bold(line) for line in code.splitlines()]
        self.lines.append(".fi")

    def see_also(self, more=()):
        references = sorted((self.references | set(more)) - {(self.section, self.name)})
        self.heading("SEE ALSO")
        for number, (section, name) in enumerate(references):
            self.lines.append(f".BR {escape(name)} ({section})" + ("," if number + 1 < len(references) else ""))

    def write(self, folder):
        place = folder / f"man{self.section}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{self.name}.{self.section}").write_text("\n".join(self.lines) + "\n", encoding="utf-8")


# ---- The pages

OVERVIEW = ("7", "mapshare")


def value_of(constant):
    return f"{constant.name} ({constant.value})"


def function_page(header, function, edition):
    page = Page(header, function.name, "3", *edition, function.summary)
    page.synopsis(function.code)
    page.heading("DESCRIPTION")
    page.paragraphs(function.text)
    if function.parameters:
        page.entries(function.parameters, font=italic)
    page.paragraphs(function.more, first=False)
    constants = header.constants_of(function.name)
    if constants:
        page.lines += [".PP", "Constants:"]
        page.entries([(value_of(constant), constant.meaning) for constant in constants])
    page.heading("RETURN VALUE")
    result = function.result.rstrip(".")
    if not function.errors:
        page.prose(f"{result}.")
    else:
        several = re.search("[.:;] ", result)
        page.prose(result + (". Or a negative error code." if several else ", or a negative error code."))
        page.prose("Then nothing was acquired, and mapshare_last_error tells what was asked, found and what to do.")
        page.heading("ERRORS")
        for number, (codes, text) in enumerate(function.errors):
            if codes:
                page.entries([(codes, text)])
            else:
                page.lines += [".PP"] if number else []
                page.prose(capitalised(text))
    page.heading("NOTES")
    page.entries((label, capitalised(note) if label != "Source" else note) for label, note in function.notes.items())
    page.see_also([OVERVIEW])
    return page


def struct_page(header, struct, edition):
    page = Page(header, struct.name, "3", *edition, struct.summary)
    page.synopsis(struct.code)
    page.heading("DESCRIPTION")
    page.paragraphs(struct.text)
    for name, text in struct.fields:
        page.entries([(name, text)], font=italic)
        constants = header.constants_of(struct.name, name)
        if constants:
            page.lines.append(".RS")
            page.entries([(value_of(constant), constant.meaning) for constant in constants])
            page.lines.append(".RE")
    users = [("3", one.name) for one in header.functions if re.search(rf"\b{struct.name}\b", one.declaration)]
    page.see_also([OVERVIEW, *users])
    return page


def sections(head):
    """The sections of the header's head: a title and its lines. What stands before the first has no title."""
    title, lines = "", []
    for line in head:
        if re.fullmatch(r"[A-Z][A-Z ,]+", line):
            yield title, lines
            title, lines = line, []
        elif not line.startswith("Generated by"):
            lines.append(line)
    yield title, lines


def rows(lines):
    """The rows of a table: each begins near the margin, has its term, two spaces and its text, and may go on below.

    Prose between them is a row of one column.
    """
    table = []
    for line in filter(None, lines):
        row = re.split(r" {2,}", line.strip())
        near = re.match(r" {0,4}\S", line)
        if near and (len(row) > 1 or not table or len(table[-1]) > 1):
            table.append(row)
        else:
            table[-1][-1] += " " + line.strip()
    return table


def overview(header, edition):
    (_, opening), *rest = sections(header.head)
    text = [paragraph(group) for group in paragraphs(opening)]
    example = Code("\n\n".join(part for part in text if isinstance(part, Code)))
    text = [part for part in text if not isinstance(part, Code)]
    text[0] = text[0].removeprefix("mapshare: ")
    summary = first_clause(text[0])
    text[0] = capitalised(text[0])
    page = Page(header, "mapshare", "7", *edition, summary)
    page.heading("SYNOPSIS")
    page.lines += [".nf", bold("#include <mapshare.h>"), ".PP",
                   bold("cc program.c $(pkg-config --cflags --libs mapshare)"), ".fi"]
    page.heading("DESCRIPTION")
    page.paragraphs(text)
    page.heading("FUNCTIONS")
    for function in header.functions:
        page.lines += [".TP", f".BR {escape(function.name)} (3)"]
        page.prose(function.summary)
    page.heading("TYPES")
    page.entries([(struct.name, " ".join(struct.text)) for struct in header.structs])
    homeless = [one for one in header.constants if one.owner not in header.pages]
    if homeless:
        page.heading("CONSTANTS")
        page.entries([(value_of(constant), " ".join(constant.text)) for constant in homeless])
    for title, lines in rest:
        page.heading("ERRORS" if title == "CODES" else title)
        for number, (term, *texts) in enumerate(rows(lines)):
            if not texts:
                page.paragraphs([term], first=number == 0)
                continue
            page.entries([(term, texts[0])], width="5n" if term.isdigit() else None)
            for more in texts[1:]:
                page.lines.append(".br")
                page.prose("Here: " + more)
    page.heading("EXAMPLES")
    page.block(example)
    page.see_also([("2", "mmap"), ("7", "shm_overview"), *(("3", function.name) for function in header.functions)])
    return page


def main():
    path, version, folder = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    header = Header(path.read_text(encoding="utf-8"))
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", path.stat().st_mtime))
    date = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date().isoformat()
    edition = (version, date)
    pages = [overview(header, edition)]
    pages += [function_page(header, function, edition) for function in header.functions]
    pages += [struct_page(header, struct, edition) for struct in header.structs if struct.fields]
    for page in pages:
        page.write(folder)


if __name__ == "__main__":
    main()
