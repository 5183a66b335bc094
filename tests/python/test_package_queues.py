"""Cells and queues through the package, between real processes, some of which are killed."""

import ctypes
import errno
import os
import pickle
import socket
import sys
import threading
import unittest

from package import PAGE, Script, Test

import mapshare

CELL, QUEUE, CAPACITY = 0, 16 * PAGE, 4 * PAGE


class Cells(Test):
    def test_values_and_versions(self):
        with self.region(32) as region:
            cell = mapshare.Cell.create(region, CELL, 5)
            self.assertEqual(cell.read(), (bytes(5), 0))
            self.assertRaises(TimeoutError, cell.wait, 0, 0.01)
            for version, value in enumerate((b"first", bytearray(b"other"), memoryview(b"third")), 1):
                cell.publish(value)
                self.assertEqual(cell.read(), (bytes(value), version))
                cell.wait(version - 1)
            with mapshare.open(self.path()) as readable:
                same = mapshare.Cell(readable, CELL, 5)
                self.assertEqual(same.read().data, b"third")
                self.assertIsInstance(self.refused("EACCES", same.publish, b"12345"), PermissionError)
            self.refused("EINVAL", cell.publish, b"too long")
            self.refused("EEXIST", mapshare.Cell.create, region, CELL, 5)
            self.refused("EBADMSG", mapshare.Cell(region, QUEUE, 5).read)
            self.refused("EINVAL", mapshare.Cell.footprint, 0)
            self.assertEqual(mapshare.Cell.footprint(5) % 64, 0)

    def test_readers_see_whole_values_while_a_writer_is_killed_and_the_next_goes_on(self):
        with self.region(32) as region:
            cell = mapshare.Cell.create(region, CELL, 1000)
            text = """if True:
                cell, number = mapshare.Cell(mapshare.open("file", "r+"), 0, 1000), 0
                while True:
                    cell.publish(bytes([number % 250]) * 1000)
                    number += 1
            """
            for _ in range(3):
                writer = Script(self, text)
                seen = cell.read().version
                values = iter(cell)
                for _ in range(50):
                    value = next(values)
                    self.assertEqual(len(set(value.data)), 1)
                    self.assertGreater(value.version, seen)
                    seen = value.version
                writer.kill()
                self.assertEqual(len(set(cell.read().data)), 1)
                cell.publish(b"A" * 1000)
                self.assertEqual(cell.read().data, b"A" * 1000)


class Queues(Test):
    def setUp(self):
        super().setUp()
        self.region_ = self.region(32)
        self.addCleanup(self.region_.close)
        mapshare.Queue.create(self.region_, QUEUE, CAPACITY)

    def open(self, role):
        queue = mapshare.Queue(self.region_, QUEUE, role)
        self.addCleanup(queue.close)
        return queue

    def test_messages_of_all_lengths_arrive_in_their_order_and_the_end_ends(self):
        producer, consumer = self.open("producer"), self.open("consumer")
        lengths = [CAPACITY, 0, 1, 7, 8, 9, 4096, 4097]
        for length in lengths:
            producer.push(bytes([length % 251]) * length, 60)
            self.assertEqual(consumer.pop(60), bytes([length % 251]) * length)
        for length in lengths[1:]:
            producer.push(bytearray(length), 60)
        self.assertEqual((consumer.info().messages, consumer.info().capacity), (len(lengths) - 1, CAPACITY))
        self.refused("EMSGSIZE", producer.push, bytes(CAPACITY + 1))
        self.assertRaises(TimeoutError, producer.push, bytes(CAPACITY), 0)
        producer.end()
        self.assertEqual([len(message) for message in consumer], lengths[1:])
        self.assertRaises(BrokenPipeError, consumer.pop)
        self.assertRaises(BrokenPipeError, producer.push, b"more")
        self.assertEqual((producer.info().producers, producer.info().consumers), (1, 1))

    def test_messages_are_made_and_read_in_place(self):
        producer, consumer = self.open("producer"), self.open("consumer")
        views = self.region_.info().views
        with producer.reserve(100) as message:
            message.data[0:5] = b"given"
            message.length = 5
        with self.assertRaises(KeyError):
            with producer.reserve(10):
                raise KeyError
        with self.assertRaises(KeyError):
            with consumer.peek(1) as message:
                raise KeyError
        with consumer.peek(1) as message:
            self.assertEqual((bytes(message.data), message.data.readonly), (b"given", True))
            self.assertRaises(BufferError, consumer.close)
        self.assertRaises(TimeoutError, consumer.pop, 0)
        self.assertRaises(BufferError, self.region_.close)
        self.assertEqual(self.region_.info().views, views, "what is kept for messages is not told of")
        message = producer.reserve(16)
        part = message.data[1:3]
        self.assertRaises(BufferError, producer.close)
        message.data.release()
        self.assertRaises(BufferError, producer.close)
        del part
        producer.close()

    def test_what_still_shows_a_message_keeps_it_from_its_end(self):
        producer, consumer = self.open("producer"), self.open("consumer")
        shows = {
            "slice": lambda data: data[1:3],
            "cast": lambda data: data.cast("Q"),
            "memoryview": memoryview,
            "array": lambda data: (ctypes.c_char * 8).from_buffer(data),
            "nothing": None,
        }
        for name, show in shows.items():
            with self.subTest(name):
                message = producer.reserve(8, 60)
                message.data[:] = b"in place"
                self.still_used(message, show)
                self.assertEqual(producer.info().messages, 1)
                message = consumer.peek(60)
                self.still_used(message, show if name != "array" else None)
                self.assertEqual(consumer.info().messages, 0)

    def still_used(self, message, show):
        if show is not None:
            shown = show(message.data)
            with self.assertRaisesRegex(BufferError, "has not ended"):
                with message:
                    pass
            self.assertEqual(bytes(message.data), b"in place")
            del shown
        with message:
            copy = bytes(message.data)
        self.assertEqual(copy, b"in place")
        self.assertRaises(ValueError, lambda: message.data[0])

    def test_a_message_that_cannot_be_ended_is_given_up(self):
        producer, consumer = self.open("producer"), self.open("consumer")
        for length, failure in ((9, OSError), (-1, ValueError), ("8", TypeError)):
            with self.assertRaises(failure):
                with producer.reserve(8, 60) as message:
                    message.length = length
            producer.push(b"next", 60)
            self.assertEqual(consumer.pop(0), b"next")
        producer.push(b"stays")
        message = consumer.peek(60)
        part = message.data[:2]
        with self.assertRaisesRegex(BufferError, "given up"):
            message.cancel()
        del part
        self.assertEqual(consumer.pop(0), b"stays")
        message = producer.reserve(8, 60)
        message.data.release()
        self.region_.fill(QUEUE, PAGE, 0)
        self.refused("EBADMSG", message.__exit__, None, None, None)

    def test_messages_of_any_length_follow_one_another(self):
        """Each through a buffer that fits it, or the one of a longer message before."""
        with mapshare.anonymous(mapshare.Queue.footprint(1 << 22)) as memory:
            mapshare.Queue.create(memory, 0, 1 << 22)
            with mapshare.Queue(memory, 0, "producer") as producer, mapshare.Queue(memory, 0, "consumer") as consumer:
                for length in (1, 5000, 1, 40_000, 3, 1 << 20, 40_000, 0, 1 << 20, 200_000, 1 << 15, (1 << 15) + 1):
                    message = os.urandom(length)
                    producer.push(message, 60)
                    self.assertEqual(consumer.pop(60), message)
                    with producer.reserve(length, 60) as place:
                        place.data[:] = message
                    with consumer.peek(60) as place:
                        self.assertEqual(place.data, message)

    def test_a_handle_that_several_threads_use_gives_each_message_once(self):
        """They are refused while another one waits in it; what else they share of the object stays whole."""
        producer, consumer = self.open("producer"), self.open("consumer")
        messages = [b"%d " % number * (number % 50 + 1) for number in range(20_000)]
        found = [[] for _ in range(3)]
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)

        def take(into):
            while True:
                try:
                    if len(into) % 8 == 7:
                        with consumer.peek(60) as message:
                            into.append(bytes(message.data))
                    else:
                        into.append(consumer.pop(60))
                except BrokenPipeError:
                    return
                except OSError as error:
                    # In use; or peeked by another thread, for which this one has to wait.
                    if error.errno not in (errno.EBUSY, errno.EINVAL, errno.EPERM):
                        raise

        threads = [threading.Thread(target=take, args=(into,)) for into in found]
        for thread in threads:
            thread.start()
        for message in messages:
            producer.push(message, 60)
        producer.end()
        for thread in threads:
            thread.join(60)
        self.assertEqual(sorted(sum(found, [])), sorted(messages))

    def test_refusals(self):
        producer, consumer = self.open("producer"), self.open("consumer")
        self.refused("EEXIST", mapshare.Queue.create, self.region_, QUEUE, CAPACITY)
        self.refused("EBADMSG", mapshare.Queue, self.region_, QUEUE + PAGE // 2, "consumer")
        self.refused("EINVAL", producer.pop)
        self.refused("EINVAL", consumer.push, b"")
        mapshare.Queue.create(self.region_, PAGE, PAGE, single_producer=True, single_consumer=True)
        with mapshare.Queue(self.region_, PAGE, "producer"):
            self.refused("EBUSY", mapshare.Queue, self.region_, PAGE, "producer")
        mapshare.Queue(self.region_, PAGE, "producer").close()
        self.assertRaisesRegex(TypeError, "open it in the other process", pickle.dumps, producer)
        self.assertRaises(ValueError, mapshare.Queue, self.region_, QUEUE, "reader")
        for wrong in (-1, float("nan")):
            self.assertRaises(ValueError, producer.push, b"", wrong)
            self.assertRaises(ValueError, producer.reserve, 1, wrong)
            self.assertRaises(ValueError, consumer.pop, wrong)
            self.assertRaises(ValueError, consumer.peek, wrong)
        producer.close()
        self.refused("EBADF", producer.push, b"")
        self.refused("EBADF", producer.reserve, 1)

    def test_processes_on_both_sides_get_each_message_once(self):
        text = """if True:
            region = mapshare.open("file", "r+")
            with mapshare.Queue(region, int(sys.argv[1]), sys.argv[2]) as queue:
                if sys.argv[2] == "producer":
                    for number in range(300):
                        queue.push(b"%s %d" % (sys.argv[3].encode(), number) + bytes(number))
                else:
                    for message in queue:
                        print(message.rstrip(b"\\0").decode(), flush=True)
        """
        consumers = [Script(self, text, QUEUE, "consumer") for _ in range(2)]
        producers = [Script(self, text, QUEUE, "producer", name) for name in ("one", "two")]
        for producer in producers:
            self.assertEqual(producer.process.wait(60), 0)
        self.open("producer").end()
        found = [consumer.process.communicate(timeout=60)[0].splitlines() for consumer in consumers]
        wanted = [f"{name} {number}" for name in ("one", "two") for number in range(300)]
        self.assertEqual(sorted(found[0] + found[1]), sorted(wanted))

    def test_what_a_killed_process_had_in_place_goes_to_another_or_was_never_there(self):
        producer, consumer = self.open("producer"), self.open("consumer")
        text = """if True:
            queue = mapshare.Queue(mapshare.open("file", "r+"), int(sys.argv[1]), sys.argv[2])
            message = queue.peek() if sys.argv[2] == "consumer" else queue.reserve(100)
            if sys.argv[2] == "producer":
                message.data[:] = b"never seen" * 10
            print("has it", flush=True)
            sys.stdin.readline()
        """
        producer.push(b"message")
        other = Script(self, text, QUEUE, "consumer")
        self.assertEqual(other.line(), "has it")
        self.assertRaises(TimeoutError, consumer.pop, 0)
        other.kill()
        self.assertEqual(consumer.pop(60), b"message")
        other = Script(self, text, QUEUE, "producer")
        self.assertEqual(other.line(), "has it")
        self.assertRaises(TimeoutError, producer.push, b"mine", 0)
        other.kill()
        producer.push(b"mine", 60)
        self.assertEqual(consumer.pop(60), b"mine")

    def test_messages_in_a_file_stay_when_all_have_closed_it(self):
        with mapshare.Queue(self.region_, QUEUE, "producer") as producer:
            producer.push(b"kept")
        self.region_.close()
        with mapshare.open(self.path(), "r+") as region, mapshare.Queue(region, QUEUE, "consumer") as consumer:
            self.assertEqual(consumer.pop(0), b"kept")

    def test_the_child_of_a_fork_opens_its_own(self):
        producer, consumer = self.open("producer"), self.open("consumer")
        producer.push(b"message")
        child = os.fork()
        if child == 0:
            code = 99
            try:
                try:
                    consumer.pop(0)
                except OSError:
                    consumer.close()
                    with mapshare.Queue(self.region_, QUEUE, "consumer") as own:
                        code = 0 if own.pop(60) == b"message" else 1
            finally:
                os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertRaises(TimeoutError, consumer.pop, 0)

    def test_a_queue_in_memory_that_was_handed_over(self):
        here, there = socket.socketpair()
        with here, there, mapshare.anonymous(mapshare.Queue.footprint(PAGE)) as memory:
            mapshare.Queue.create(memory, 0, PAGE)
            text = """if True:
                with socket.socket(fileno=int(sys.argv[1])) as there:
                    queue = mapshare.Queue(mapshare.receive(there, "r+"), 0, "producer")
                queue.push(b"from a stranger")
                queue.end()
            """
            Script(self, text, there.fileno(), pass_fds=[there.fileno()])
            memory.send(here, "r+")
            with mapshare.Queue(memory, 0, "consumer") as consumer:
                self.assertEqual(list(consumer), [b"from a stranger"])


if __name__ == "__main__":
    unittest.main()
