"""Files of many types, for scripts/compare_filetype.py: some made here, some that are on the machine anyway."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import marshal
import pickle
import plistlib
import random
import sqlite3
import struct
import subprocess
import sys
import sysconfig
import tarfile
import wave
import zipfile
import zlib
from pathlib import Path

import numpy as np

from filetype_texts import texts

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 1 << 20  # bytes of a file that is taken


def edge_cases() -> dict[str, bytes]:
    """Contents at the borders of what magika distinguishes."""
    rng = random.Random(1)
    source = b"import os\nfor name in os.listdir('.'):\n    print(name)\n"
    words = "Grüße aus Köln, naïve café, 你好，世界。 "
    cases = {
        "empty": b"",
        "one letter": b"a",
        "one byte": b"\xff",
        "seven": source[:7],
        "eight": source[:8],
        "eight with white space": source[:6] + b"  ",
        "white space": b" \t\r\n\v\f" * 30,
        "long white space": b"\n" * 10000,
        "late text": b" " * 4096 + source,
        "late bytes": b" " * 4096 + b"\xff" * 100,
        "early text": source + b" " * 5000,
        "cut character": b" " * 4095 + "é".encode() + b" " * 10,
        "no white space": b"\x1c" * 20,
        "zeros": bytes(5000),
        "name: with (words) 0.5": source,
        "utf-8": (words * 9).encode(),
        "utf-16": (words * 9).encode("utf-16"),
        "utf-32": (words * 9).encode("utf-32"),
        "latin-1": "Grüße aus Köln, naïve café. ".encode("latin-1") * 9,
    }
    for size in (8, 100, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 8192, 9000):
        cases[f"random {size}"] = rng.randbytes(size)
        cases[f"python {size}"] = (source * (size // len(source) + 1))[:size]
    return cases


def archives(payload: bytes) -> dict[str, bytes]:
    """Archives, and formats that are archives inside."""

    def zipped(names: list[str], first: bytes = b"") -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            if first:
                archive.writestr(zipfile.ZipInfo("mimetype"), first)
            for name in names:
                archive.writestr(zipfile.ZipInfo(name), payload)
        return file.getvalue()

    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name in ("a.txt", "b.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = len(payload)
            archive.addfile(entry, io.BytesIO(payload))
    office = ["[Content_Types].xml", "_rels/.rels", "docProps/app.xml"]
    return {
        "a.zip": zipped(["a.txt", "b.txt"]),
        "a.jar": zipped(["META-INF/MANIFEST.MF", "hello/Main.class"]),
        "a.docx": zipped([*office, "word/document.xml", "word/styles.xml"]),
        "a.xlsx": zipped([*office, "xl/workbook.xml", "xl/worksheets/sheet1.xml"]),
        "a.pptx": zipped([*office, "ppt/presentation.xml", "ppt/slides/slide1.xml"]),
        "a.odt": zipped(["content.xml", "META-INF/manifest.xml"], b"application/vnd.oasis.opendocument.text"),
        "a.epub": zipped(["META-INF/container.xml", "OEBPS/content.opf"], b"application/epub+zip"),
        "a.apk": zipped(["AndroidManifest.xml", "classes.dex", "resources.arsc", "META-INF/CERT.RSA"]),
        "a.tar": tar.getvalue(),
        "a.tar.gz": gzip.compress(tar.getvalue(), mtime=0),
        "a.gz": gzip.compress(payload, mtime=0),
        "a.bz2": bz2.compress(payload),
        "a.xz": lzma.compress(payload),
        "a.lzma": lzma.compress(payload, lzma.FORMAT_ALONE),
        "a.zlib": zlib.compress(payload),
    }


def pictures() -> dict[str, bytes]:
    """A gradient in several formats."""
    side = 64
    rows = [bytes(v for x in range(side) for v in (4 * x, 4 * y, 128)) for y in range(side)]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    raw = b"".join(rows)
    bmp_header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, len(raw), 2835, 2835, 0, 0)
    bmp = struct.pack("<2sIHHI", b"BM", 54 + len(raw), 0, 0, 54) + bmp_header + raw
    gif_start = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    gif = gif_start + b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\2\3\x44\x02\x05\0;"
    ico = struct.pack("<HHHBBBBHHII", 0, 1, 1, side, side, 0, 0, 1, 32, len(png), 22) + png
    tga = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, side, side, 24, 0) + raw
    return {"a.png": png, "a.bmp": bmp, "a.gif": gif, "a.ico": ico, "a.tga": tga, "a.ppm": b"P6\n64 64\n255\n" + raw}


def data(folder: Path) -> dict[str, bytes]:
    """Formats of programs and for data; folder is for what can only be made as a file."""
    value = {"name": "Hello", "numbers": list(range(50)), "nested": {"a": [1.5, None, True]}}
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", 300 * (i % 100 - 50)) for i in range(8000)))
    database = folder / "made.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO a (name) VALUES (?)", [(f"name {i}",) for i in range(100)])
    connection.close()
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.arange(1000.0))
    np.savez(npz, a=np.arange(1000), b=np.eye(9))
    code = marshal.dumps(compile(Path(__file__).read_text(), "a.py", "exec"))
    track = b"\0\xff\x51\x03\x07\xa1\x20" + b"\0\x90\x3c\x40\x60\x80\x3c\x40" * 20 + b"\0\xff\x2f\0"
    pdf = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    pdf += b"2 0 obj\n<< /Type /Pages /Kids [] /Count 0 >>\nendobj\n"
    pdf += b"xref\n0 3\ntrailer\n<< /Size 3 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(pdf)
    packet = struct.pack("<IIII", 1700000000, 0, 60, 60) + b"\xff" * 12 + b"\x08\x00\x45" + bytes(45)
    return {
        "a.json": json.dumps(value, indent=2).encode(),
        "a.mid": b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(track)) + track,
        "a.npy": npy.getvalue(),
        "a.npz": npz.getvalue(),
        "a.pcap": struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + packet * 9,
        "a.pdf": pdf,
        "a.pickle": pickle.dumps(value, 4),
        "a.pickle0": pickle.dumps(value, 0),
        "a.plist": plistlib.dumps({"name": "Hello", "numbers": list(range(9))}),
        "a.bplist": plistlib.dumps({"name": "Hello", "numbers": list(range(9))}, fmt=plistlib.FMT_BINARY),
        "a.pyc": b"\xa7\r\r\n" + bytes(12) + code,
        "a.sqlite": database.read_bytes(),
        "a.wav": sound.getvalue(),
    }


def made(folder: Path) -> list[Path]:
    """Make files in a folder, which must not exist."""
    folder.mkdir(parents=True)
    sources = texts()
    payload = b"".join(sources.values())
    paths = []
    for name, content in {**sources, **edge_cases(), **archives(payload), **pictures(), **data(folder)}.items():
        path = folder / name
        path.write_bytes(content)
        paths.append(path)
    for name, target in {"link": "a.png", "link to a folder": "."}.items():
        path = folder / name
        path.symlink_to(target)
        paths.append(path)
    return [*paths, folder]


def found() -> list[Path]:
    """The first file of each ending, of this repository, of Go, and of Python and its packages."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], check=True, stdout=subprocess.PIPE, text=True)
    go = subprocess.run(["go", "env", "GOROOT"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    python = Path(sysconfig.get_path("stdlib"))
    groups = [
        [ROOT / name for name in listed.stdout.splitlines()],
        Path(go).rglob("*"),
        (path for path in python.rglob("*") if "site-packages" not in path.parts),
        Path(sysconfig.get_path("purelib")).rglob("*"),
    ]
    paths = [Path(sys.executable).resolve()]
    for group in groups:
        taken: dict[str, Path] = {}
        for path in sorted(group):
            if path.suffix not in taken and path.is_file() and path.stat().st_size <= LARGEST:
                taken[path.suffix] = path
        paths += taken.values()
    return paths
