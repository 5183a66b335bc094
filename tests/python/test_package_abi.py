"""`_abi.py` against the header and against the frozen lists."""

import ctypes
import re
import unittest

import package
from mapshare import _abi

HEADER = re.sub(r"/\*.*?\*/|//[^\n]*", "", (package.ROOT / "include/mapshare.h").read_text(), flags=re.S)
TYPES = {
    "int": ctypes.c_int,
    "int64_t": ctypes.c_int64,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "const char *": ctypes.c_char_p,
    "void *": ctypes.c_void_p,
    "const void *": ctypes.c_void_p,
}


def type_of(text):
    """The ctypes type of a C type as the header spells it."""
    text = " ".join(text.replace("struct ", "").replace("*", " *").split())
    if text in TYPES:
        return TYPES[text]
    if text.endswith(" *"):
        return ctypes.POINTER(type_of(text[:-2]))
    text = text.replace("const ", "")
    return TYPES.get(text) or getattr(_abi, text)


def prototypes():
    for result, name, arguments in re.findall(r"^([\w ]+?[ *]+)(mapshare_\w+)\(([^)]*)\);", HEADER, flags=re.M):
        types = [re.sub(r"\w+$", "", argument.strip()) for argument in arguments.split(",")]
        yield name, type_of(result), [type_of(text) for text in types if text.strip()]


class Abi(unittest.TestCase):
    def test_constants_are_those_of_the_header(self):
        header = {name: int(value) for name, value in re.findall(r"^#define MAPSHARE_(\w+) (\d+)$", HEADER, flags=re.M)}
        numbers = {name: value for name, value in vars(_abi).items() if re.fullmatch(r"[A-Z][A-Z0-9_]+", name)}
        numbers.pop("POINTER")
        self.assertGreater(len(header), 15)
        self.assertEqual(list(numbers.items()), list(header.items()), "in the header's order")

    def test_every_function_has_the_headers_types(self):
        found = list(prototypes())
        self.assertGreater(len(found), 20)
        for name, result, arguments in found:
            with self.subTest(name):
                function = getattr(_abi, name)
                self.assertEqual(function.restype, result)
                self.assertEqual(list(function.argtypes), arguments)
                can_fail = result in (ctypes.c_int, ctypes.c_int64)
                self.assertEqual(function.errcheck is _abi.check if hasattr(function, "errcheck") else False, can_fail)

    def test_functions_are_those_of_the_header_and_of_the_list_of_symbols(self):
        names = [name for name, *_ in prototypes()]
        ours = [
            name for name, value in vars(_abi).items() if name.startswith("mapshare_") and not isinstance(value, type)
        ]
        self.assertEqual(ours, names, "in the header's order")
        self.assertEqual(sorted(names), (package.ROOT / "tests/abi/symbols.txt").read_text().split())

    def test_structures_and_numbers_are_those_of_the_layout_list(self):
        for line in (package.ROOT / "tests/abi/layout.txt").read_text().splitlines():
            with self.subTest(line):
                size = re.fullmatch(r"sizeof\((\w+)\) (\d+)", line)
                field = re.fullmatch(r"(\w+)\.(\w+) (\d+) (\d+)", line)
                number = re.fullmatch(r"MAPSHARE_(\w+) (\d+)", line)
                if size:
                    self.assertEqual(ctypes.sizeof(getattr(_abi, size[1])), int(size[2]))
                elif field:
                    found = getattr(getattr(_abi, field[1]), field[2])
                    self.assertEqual((found.offset, found.size), (int(field[3]), int(field[4])))
                else:
                    self.assertTrue(number)
                    self.assertEqual(getattr(_abi, number[1], None), int(number[2]))

    def test_every_field_is_in_the_layout_list(self):
        text = (package.ROOT / "tests/abi/layout.txt").read_text()
        for structure in vars(_abi).values():
            if isinstance(structure, type) and hasattr(structure, "_fields_"):
                for name, _type in structure._fields_:
                    self.assertIn(f"{structure.__name__}.{name} ", text)


if __name__ == "__main__":
    unittest.main()
