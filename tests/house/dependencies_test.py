#!/usr/bin/env python3
"""Who may know whom: every #include of the tree is held to the table below.

A part is a folder, or one file (without its suffix) where a folder has more than one layer; the part of a file is the
longest name that fits. A file may include its own part and what stands beside it in the table: other parts (a folder's
name stands for its files that are parts, too) and libraries. The standard library's and the system's headers are free.
The table must not have a circle in it.

What ships on a device is held to more than its own lines: whatever it reaches through other headers counts, too.
"""
import os
import re
import sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

PARTS = {
    # What lies on disk.
    "formats/base": "hwy",
    "formats/error": "fmt",
    "formats/operators": "formats/base",
    "formats/entropy/coder": "formats/base",
    "formats/entropy": "formats/base hwy",
    "formats/coded": "formats/base formats/entropy/coder",
    "formats/container": "formats/base formats/entropy formats/coded",
    "formats/container/cursor": "formats/base",
    "formats/image": "formats/base formats/entropy formats/container/cursor",
    "formats/onnx": "formats/error formats/base formats/operators onnx google",
    # What runs it.
    "runtime/include": "",
    "runtime/contract": "formats/base formats/operators formats/coded",
    "runtime/kernels/tables": "runtime/contract",
    "runtime/kernels/reference": "formats/base formats/operators runtime/contract runtime/kernels/tables",
    "runtime/kernels/fast": "formats/base formats/operators runtime/contract runtime/kernels/reference hwy",
    "runtime/kernels/registry": "runtime/contract runtime/kernels/tables runtime/kernels/fast",
    "runtime/graph": "formats/base formats/operators formats/coded formats/container runtime/contract "
                     "runtime/kernels/registry",
    "runtime/plan": "formats/base formats/operators formats/coded runtime/contract runtime/graph",
    "runtime/session/c_support": "formats/base runtime/include runtime/contract",
    "runtime/session": "formats/base runtime/include runtime/contract runtime/graph runtime/plan",
    "runtime/image": "formats/base formats/image runtime/include runtime/contract runtime/session/c_support",
    # What makes it.
    "compressor/data": "formats/error formats/base fmt png.h jpeglib.h zlib.h",
    "compressor/graph": "formats/error formats/base formats/operators formats/onnx runtime/session fmt google",
    "compressor/quantizer": "formats/error formats/base formats/entropy formats/coded hwy Eigen",
    "compressor/networks": "formats/error formats/base formats/onnx compressor/solver/tableau fmt",
    "compressor/measure": "formats/error formats/base formats/entropy/coder formats/coded formats/container "
                          "formats/onnx "
                          "runtime/include compressor/data compressor/graph",
    "compressor/compress": "formats/error formats/base formats/operators formats/entropy formats/coded "
                           "formats/container "
                           "formats/onnx compressor/data compressor/graph compressor/quantizer compressor/measure "
                           "fmt hwy Eigen",
    "compressor/training/training_record": "formats/error formats/base nlohmann",
    "compressor/training/reports": "compressor/compress compressor/training/training_record",
    "compressor/training/loop/options": "compressor/data compressor/training/training_record "
                                        "compressor/training/ode_options",
    "compressor/training/tune_options": "compressor/compress compressor/training/loop/options",
    "compressor/training/visit_options": "compressor/training/tune_options",
    "compressor/training/run_key": "formats/entropy/coder compressor/training/tune_options "
                                   "compressor/training/visit_options fmt",
    "compressor/report": "formats/error formats/base formats/entropy/coder compressor/data compressor/measure "
                         "compressor/compress "
                         "compressor/training/training_record compressor/training/reports fmt nlohmann",
    "compressor/training/host_tensors": "compressor/graph torch",
    "compressor/training/distributed": "formats/error formats/base fmt torch",
    "compressor/training/operators": "formats/error formats/base formats/operators formats/onnx compressor/graph "
                                     "torch ATen c10 onnx",
    "compressor/training/autocast": "torch ATen",
    "compressor/training/recompute": "compressor/training/autocast torch",
    "compressor/training/segments": "",
    "compressor/training/ode_options": "compressor/solver/gradient",
    "compressor/training/graph_module": "formats/error formats/base formats/operators formats/onnx compressor/graph "
                                        "compressor/training/distributed compressor/training/operators "
                                        "compressor/training/recompute compressor/training/segments "
                                        "compressor/training/ode_options compressor/solver torch",
    "compressor/training/quantization": "formats/error formats/base formats/operators formats/entropy formats/coded "
                                        "compressor/graph "
                                        "compressor/quantizer compressor/compress compressor/training/training_record "
                                        "compressor/training/graph_module torch",
    "compressor/training/loop": "formats/error formats/base formats/onnx compressor/data compressor/measure "
                                "compressor/training/training_record compressor/training/run_key "
                                "compressor/training/host_tensors compressor/training/distributed "
                                "compressor/training/autocast compressor/training/ode_options "
                                "compressor/training/operators compressor/training/graph_module "
                                "compressor/training/quantization torch ATen c10",
    "compressor/training/codec/codec_options": "compressor/data compressor/networks compressor/training/loop/options",
    "compressor/training/codec": "formats/error formats/image compressor/data compressor/measure compressor/networks "
                                 "compressor/training/training_record compressor/training/reports "
                                 "compressor/training/run_key compressor/training/autocast "
                                 "compressor/training/graph_module compressor/training/loop "
                                 "compressor/training/codec/codec_options fmt torch",
    "compressor/training": "formats/error formats/base formats/onnx compressor/graph compressor/compress "
                           "compressor/training/quantization compressor/training/loop torch",
    "compressor/solver/tableau": "formats/error formats/base fmt",
    "compressor/solver/gradient": "",
    "compressor/solver": "formats/error compressor/solver/tableau compressor/solver/gradient fmt torch",
    "compressor/cli": "formats/error formats/base formats/entropy runtime/include compressor/data compressor/networks "
                      "compressor/solver/tableau "
                      "compressor/measure compressor/compress compressor/report compressor/training/loop "
                      "compressor/training compressor/training/codec fmt CLI nlohmann",
    "examples": "runtime/include",
}

LIBRARIES = {"ATen", "CLI", "Eigen", "c10", "fmt", "google", "hwy", "jpeglib.h", "nlohmann", "onnx", "png.h", "torch",
             "zlib.h"}
SYSTEM = re.compile(r"[a-z_]+|(std(int|def|io|lib|bool)|string|math|time|errno|limits|assert|signal)\.h|"
                    r"(sys|net|netinet|arpa)/\w+\.h|"
                    r"(dirent|fcntl|poll|unistd|pthread|sched|spawn|netdb|malloc|fnmatch|cpuid|nmmintrin|immintrin)\.h")

# (files, what none of their headers may lead to): regular expressions on paths and on library names.
CLOSED = [
    (r"(runtime|formats/(operators|entropy|coded|container|image))/.*",
     r"(compressor|formats/onnx)/.*|formats/error\.h|fmt|iostream"),
    (r"runtime/(?!image/).*", r"formats/(entropy/\w*encoder|container/(writer|encode)|base/atomic_file|image/\w+)\.h"),
    (r"runtime/image/(?!encode).*", r"formats/(entropy|image)/(\w*encoder|writer)\.h"),
    (r"formats/(entropy/\w*decoder|container/(reader|decode)|image/\w*(decoder|reader))\..*",
     r"formats/(entropy/\w*encoder|container/writer|image/\w*(encoder|writer))\.h"),
    (r"formats/(entropy/\w*encoder|container/(writer|encode)|image/\w*(encoder|writer))\..*",
     r"formats/(entropy/\w*decoder|container/reader|image/\w*(decoder|reader))\.h"),
    (r"(?!compressor/(training|solver)/).*", r"torch|ATen|c10"),
    (r"examples/.*", r"(formats|compressor)/.*|runtime/(?!include/).*"),
]


def sources():
    for top in ("formats", "runtime", "compressor", "examples"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if name.endswith((".h", ".hpp", ".cc", ".c")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def part_of(path):
    fitting = [part for part in PARTS if path.startswith(part + "/") or os.path.splitext(path)[0] == part]
    return max(fitting, key=len, default=None)


def known_to(part):
    """The parts and libraries that `part` may include, but for itself."""
    named = [part, *PARTS[part].split()]
    files = [other for other in PARTS if os.path.dirname(other) in named and os.path.exists(f"{ROOT}/{other}.h")]
    return {*named, *files} - {part}


def includes_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        for name in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', file.read(), re.M):
            yield "runtime/include/" + name if name.startswith("quench/") else name


def circle():
    """A circle of the table, as a list of parts; None if there is none."""
    done = set()

    def walk(part, path):
        if part in path:
            return path[path.index(part):] + [part]
        if part in done:
            return None
        for other in sorted(known_to(part)):
            if other in PARTS:
                found = walk(other, path + [part])
                if found:
                    return found
        done.add(part)
        return None

    return next(filter(None, (walk(part, []) for part in PARTS)), None)


def closure(path, includes):
    """What `path` reaches through headers of the tree, each with the header that brings it."""
    reached = {}
    waiting = [path]
    while waiting:
        source = waiting.pop()
        for name in includes.get(source, ()):
            if name not in reached:
                reached[name] = source
                waiting.append(name)
    return reached


def main():
    errors = []
    includes = {path: list(includes_of(path)) for path in sources()}
    for part, known in PARTS.items():
        errors += [f"{part}: the table names {name}, which it does not have" for name in known.split()
                   if name not in PARTS and name not in LIBRARIES]
    if not errors and circle():
        errors.append("parts know each other in a circle: " + " -> ".join(circle()))
    for path, names in includes.items():
        part = part_of(path)
        if part is None:
            errors.append(f"{path}: its folder is not in the table")
            continue
        known_parts = {part} | known_to(part)
        for name in names:
            if name in includes:
                known = part_of(name)
            elif SYSTEM.fullmatch(name):
                continue
            else:
                known = name.split("/")[0]
            if known not in known_parts:
                errors.append(f"{path}: includes {name}; {part} may not know {known}")
    for path in includes:
        for files, refused in CLOSED:
            if not re.fullmatch(files, path):
                continue
            for name, source in closure(path, includes).items():
                known = name if name in includes else name.split("/")[0]
                if re.fullmatch(refused, known):
                    errors.append(f"{path}: reaches {name} (through {source})")
    print("\n".join(errors) or f"{len(includes)} files, {len(PARTS)} parts: all arrows as the table says")
    return 1 if errors else 0


sys.exit(main())
