#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Images that want to do harm: a corpus.

usage: hostile.py seeds DIR          what is small of it, for tests/fuzz/fuzz_load.c
       hostile.py list              CASE<TAB>TEXT a line: what the refusal must say; "*": loads, harmlessly
       hostile.py make DIR [CASE]...  write them, or all: each a file with an archive, or a folder with a layout
       hostile.py cuts CASE OUT     the archive of CASE, cut at every 4 KiB, as OUT.1, OUT.2 and so on
"""
import gzip
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile

OCI = "application/vnd.oci.image."
GIB = 1 << 30
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
CASES = {}
LAYOUTS = []  # all that were written, for seeds()
DOCKERS = []
SEED_MAX = 32 << 10


def case(text):
    """What the refusal of this case says; the function writes it to the path that it is given."""
    def add(function):
        CASES[function.__name__.replace("_", "-")] = (text, function)
        return function
    return add


# ---- tar, header by header -----------------------------------------------------------------------

def number(value, size):
    """Octal, or base 256 where that has no room, negative numbers included."""
    if 0 <= value < 8 ** (size - 1):
        return b"%0*o\0" % (size - 1, value)
    raw = bytearray(value.to_bytes(size, "big", signed=True))
    raw[0] = (raw[0] & 0x7f) | 0x80 if value >= 0 else 0xff
    return bytes(raw)


def header(name, size=0, kind=b"0", link=b"", uid=0):
    name = name.encode("latin-1") if isinstance(name, str) else name
    head = b"".join((name[:100].ljust(100, b"\0"), number(0o644, 8), number(uid, 8), number(0, 8),
                     number(size, 12), number(0, 12), b" " * 8, kind, link[:100].ljust(100, b"\0"),
                     b"ustar\00000", bytes(64), number(8, 8), number(0, 8)))
    head = bytearray(head.ljust(512, b"\0"))
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def padded(data):
    return data + bytes(-len(data) % 512)


def entry(name, data=b"", **more):
    return header(name, len(data), **more) + padded(data)


def folder(name):
    return header(name, kind=b"5")


def pax(*records):
    """An extended header for the next entry; records are (key, value) in bytes."""
    data = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        size = len(body)
        while len(b"%d" % size) + len(body) != size:
            size = len(b"%d" % size) + len(body)
        data += b"%d" % size + body
    return entry("pax", data, kind=b"x")


END = bytes(1024)


# ---- layouts -------------------------------------------------------------------------------------

class Layout:
    """Files by name, of an honest image that is changed before it is written."""

    def __init__(self, *layers, media="layer.v1.tar", diff_ids=None, config=None, manifest=None):
        self.files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        self.layers = [self.put(layer, media) for layer in layers or [entry("file", b"x") + END]]
        if diff_ids is None:
            diff_ids = [layer["digest"] for layer in self.layers]
        doc = {"architecture": ARCH, "os": "linux", "config": {"Cmd": ["/bin/sh"]},
               "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        doc.update(config or {})
        self.config = self.put_json(doc, "config.v1+json")
        self.manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                         "config": self.config, "layers": self.layers}
        self.manifest.update(manifest or {})
        self.index([self.put_json(self.manifest, "manifest.v1+json")])

    def seeds(self):
        """The same as tests/fuzz/fuzz_load.c takes it apart."""
        yield b"0" + self.tar() + END
        for layer in self.layers:
            yield b"1" + self.files.get(self.blob(layer), b"")
        texts = [self.files[self.blob(self.config)], self.files.get(self.blob(self.first), b""),
                 self.files["index.json"]]
        for at, desc in ((1, self.config), (2, self.first)):
            texts[at] = texts[at].replace(desc["digest"].encode(), b"\1").replace(b"%d" % desc["size"], b"\2")
        yield b"2" + b"\0".join(texts)

    def put(self, data, media):
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": OCI + media, "digest": f"sha256:{digest}", "size": len(data)}

    def put_json(self, doc, media):
        return self.put(doc if isinstance(doc, bytes) else json.dumps(doc).encode(), media)

    def index(self, manifests):
        self.first = manifests[0]
        self.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()

    def blob(self, what):
        return "blobs/sha256/" + what["digest"][7:]

    def tar(self, but=()):
        return b"".join(entry(name, data) for name, data in self.files.items() if name not in but)

    def archive(self, out, before=b"", after=b"", but=()):
        LAYOUTS.append(self)
        write(out, before + self.tar(but) + after + END)

    def folder(self, out, but=()):
        os.makedirs(f"{out}/blobs/sha256")
        for name, data in self.files.items():
            if name not in but:
                write(f"{out}/{name}", data)
        return out


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def digest(chunks):
    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return "sha256:" + state.hexdigest()


def zstd(data, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


def repeated(piece, times):
    """What gzip makes of it, without compressing it all: members may follow each other."""
    return gzip.compress(piece, 9, mtime=0) * times


def layer_case(layer, **more):
    """One layer in an archive."""
    def make(out):
        Layout(layer, **more).archive(out)
    return make


def add(name, text, function):
    CASES[name] = (text, function)


# ---- layers: paths and links ---------------------------------------------------------------------

for n, path in enumerate(("../../../../../../tmp/recap-hostile", "a/b/../../../recap-hostile", "/..", "a/..")):
    add(f"path-traversal-{n}", 'contains ".."', layer_case(entry(path, b"x") + END))
add("pax-path-traversal", 'contains ".."',
    layer_case(pax((b"path", b"../../recap-hostile")) + entry("honest", b"x") + END))
add("gnu-long-name-traversal", 'contains ".."',
    layer_case(entry("././@LongLink", b"../" * 40 + b"x\0", kind=b"L") + entry("honest", b"x") + END))
add("absolute-link", "which is a symbolic link",
    layer_case(header("out", kind=b"2", link=b"/tmp") + entry("out/recap-hostile", b"x") + END))
add("relative-link", "which is a symbolic link",
    layer_case(folder("a") + header("a/out", kind=b"2", link=b"../../../..") + entry("a/out/x", b"x") + END))
add("looping-links", "which is a symbolic link",
    layer_case(header("a", kind=b"2", link=b"b") + header("b", kind=b"2", link=b"a") +
               entry("a/b/a/b/x", b"x") + END))
add("link-to-itself", "which is a symbolic link",
    layer_case(header("a", kind=b"2", link=b"a") + entry("a/x", b"x") + END))
add("link-without-target", "symbolic link has no target",
    layer_case(header("a", kind=b"2") + END))
add("link-over-the-root", "its root is not a folder",
    layer_case(header("./", kind=b"2", link=b"/tmp") + entry("recap-hostile", b"x") + END))
for n, link in enumerate((b"../../../../etc/passwd", b"/etc/passwd", b"/proc/self/root/etc/passwd", b"later")):
    add(f"hard-link-out-{n}", "hard link's target",
        layer_case(header("evil", kind=b"1", link=link) + entry("later", b"x") + END))
add("hard-link-to-symlink", "not a regular file of this layer",
    layer_case(header("l", kind=b"2", link=b"/etc/passwd") + header("evil", kind=b"1", link=b"l") + END))
add("hard-link-loop", "not a regular file of this layer",
    layer_case(header("a", kind=b"1", link=b"b") + header("b", kind=b"1", link=b"a") + END))
add("hard-links-with-data", "damaged",
    layer_case(entry("a", b"x") + entry("b", b"payload", kind=b"1", link=b"a") + END))
add("devices-and-pipes", "*",
    layer_case(header("sda", kind=b"4") + header("mem", kind=b"3") + header("pipe", kind=b"6") + END))
add("device-with-data", "damaged", layer_case(entry("sda", b"x" * 2000, kind=b"4") + entry("file", b"x") + END))
add("nul-in-a-name", "*",
    layer_case(pax((b"path", b"a\0/../../recap-hostile")) + entry("honest", b"x") + END))
add("nul-in-a-link", "*",
    layer_case(pax((b"linkpath", b"/tmp\0x")) + header("link", kind=b"2", link=b"x") + END))
add("name-of-control-characters", "*", layer_case(entry(b"a\n\x1b[2J\xff\xfe", b"x") + END))
add("line-feed-in-a-refused-name", "symbolic link",
    layer_case(header(b"a\nb", kind=b"2", link=b"x") + entry(b"a\nb/c", b"x") + END))
add("long-name", "longer than 255 bytes",
    layer_case(pax((b"path", b"n" * 256)) + entry("honest", b"x") + END))
add("long-path", "a path is longer than",
    layer_case(pax((b"path", b"dir/" * 20000)) + entry("honest", b"x") + END))
add("deep-path", "folders deep",
    layer_case(pax((b"path", b"d/" * 1000 + b"f")) + entry("honest", b"x") + END))

# ---- layers: numbers -----------------------------------------------------------------------------

for bits in (40, 62):
    add(f"file-of-2-to-{bits}", "more than the limit leaves",
        layer_case(header("huge", 1 << bits) + b"x" * 512 + END))
# More than libarchive takes for a file's length.
add("file-of-2-to-63", "entry|damaged", layer_case(header("huge", 1 << 63) + b"x" * 512 + END))
add("file-of-less-than-nothing", "entry|damaged", layer_case(header("minus", -512) + b"x" * 512 + END))
add("file-of-min-int", "entry|damaged", layer_case(header("minus", -(1 << 63)) + b"x" * 512 + END))
for n, size in enumerate((b"9223372036854775808", b"18446744073709551616", b"-1", b"9" * 400)):
    add(f"pax-size-{n}", "limit leaves|damaged|negative|Truncated|entry",
        layer_case(pax((b"size", size)) + entry("file", b"x") + END))
add("owner-of-2-to-40", "owner is out of range", layer_case(header("file", uid=1 << 40) + END))
add("sparse-of-an-exabyte", "more than the limit leaves",
    layer_case(pax((b"GNU.sparse.size", b"1152921504606846976"), (b"GNU.sparse.numblocks", b"1"),
                   (b"GNU.sparse.map", b"1152921504606846970,1")) + entry("hole", b"x") + END))
add("sparse-files-in-sum", "more than the limit leaves",
    layer_case(b"".join(pax((b"GNU.sparse.size", b"%d" % GIB), (b"GNU.sparse.numblocks", b"1"),
                            (b"GNU.sparse.map", b"%d,1" % (GIB - 1))) + entry(f"hole{i}", b"x")
                        for i in range(17)) + END))
add("sparse-map-backwards", "*",
    layer_case(pax((b"GNU.sparse.size", b"1000"), (b"GNU.sparse.numblocks", b"2"),
                   (b"GNU.sparse.map", b"900,10,0,10")) + entry("hole", b"x" * 20) + END))
add("sparse-map-of-millions", "metadata|damaged",
    layer_case(pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
                   (b"GNU.sparse.realsize", b"99999999")) +
               entry("hole", b"9999999\n" + b"1\n" * (4 << 20)) + END))

# ---- layers: bombs -------------------------------------------------------------------------------

add("pax-header-of-a-gigabyte", "damaged", layer_case(header("pax", GIB, kind=b"x") + bytes(4096) + END))
add("long-name-of-a-gigabyte", "damaged", layer_case(header("././@LongLink", GIB, kind=b"L") + bytes(4096) + END))
add("pax-headers-without-end", "metadata|damaged", layer_case(pax((b"comment", b"c" * 500000)) * 20 + END))
add("attributes-by-the-thousand", "entry|damaged|metadata",
    layer_case(pax(*((b"SCHILY.xattr.user.%d" % i, b"v" * 20) for i in range(20000))) + entry("file", b"x") + END))
add("attribute-of-a-megabyte", "entry|damaged|metadata",
    layer_case(pax((b"SCHILY.xattr.user.a", b"v" * 900000)) + entry("file", b"x") + END))


@case("times its own size")
def gzip_bomb_layer(out):
    layer = (gzip.compress(header("zeros", 15 * GIB), mtime=0) + repeated(bytes(1 << 28), 60) +
             gzip.compress(END, mtime=0))
    Layout(layer, media="layer.v1.tar+gzip", diff_ids=["sha256:" + "0" * 64]).archive(out)


@case("times its own size")
def zstd_bomb_layer(out):
    layer = zstd(header("zeros", 15 * GIB)) + zstd(bytes(1 << 28)) * 60 + zstd(END)
    Layout(layer, media="layer.v1.tar+zstd", diff_ids=["sha256:" + "0" * 64]).archive(out)


@case("times its own size")
def gzip_bomb_archive(out):
    write(out, gzip.compress(header("index.json", 15 * GIB), mtime=0) + repeated(bytes(1 << 28), 60))


@case("times its own size")
def gzip_bomb_behind_the_end(out):
    layer = gzip.compress(entry("file", b"x") + END, mtime=0) + repeated(bytes(1 << 28), 60)
    Layout(layer, media="layer.v1.tar+gzip", diff_ids=["sha256:" + "0" * 64]).archive(out)


@case("times its own size")
def zstd_bomb_archive(out):
    write(out, zstd(header("padding", 15 * GIB)) + zstd(bytes(1 << 28)) * 60)


@case("compressed more than once")
def gzip_in_gzip(out):
    layer = gzip.compress(gzip.compress(entry("file", b"x") + END, mtime=0), mtime=0)
    Layout(layer, media="layer.v1.tar+gzip").archive(out)


@case("damaged")
def zstd_window_of_2_gib(out):
    data = entry("file", os.urandom(1 << 20)) + END
    layer = bytearray(zstd(data))
    # The window is in the frame's header only where the length is not: a stream has none. (RFC 8878, 3.1.1.1)
    assert not layer[4] & 0x20
    layer[5] = (31 - 10) << 3
    Layout(bytes(layer), media="layer.v1.tar+zstd", diff_ids=[digest([data])]).archive(out)


@case("more than .* entries")
def a_million_empty_files(out):
    one = b"".join(header(f"d{i // 1000}/f{i}") for i in range(1000001))
    layer = gzip.compress(one, 1, mtime=0)
    Layout(layer, media="layer.v1.tar+gzip", diff_ids=[digest([one])]).archive(out)


@case("more than .* entries")
def files_in_many_layers(out):
    """Each layer within the limit, the image not."""
    layers = [b"".join(header(f"l{n}/f{i}") for i in range(count))
              for n, count in enumerate((9000, 245000))]
    Layout(*[gzip.compress(layer, 1, mtime=0) for layer in layers], media="layer.v1.tar+gzip",
           diff_ids=[digest([layer]) for layer in layers]).archive(out)


@case("more than .* entries")
def a_million_members(out):
    write(out, repeated(header("nothing") * 1000, 1000) + gzip.compress(Layout().tar() + END, mtime=0))


@case("damaged|limit|no such|index.json")
def a_member_of_16_gib(out):
    """Declared, and not there."""
    write(out, header("blobs/sha256/" + "0" * 64, 16 * GIB) + b"x" * 512)


@case("*")
def one_layer_8000_times(out):
    """Within every limit of count: 64 images of 127 layers, all the same 32 MiB."""
    layer = entry("data", os.urandom(32 << 20)) + END
    lay = Layout(layer)
    ids = lay.layers * 127
    manifests = []
    for n in range(64):
        config = lay.put_json({"architecture": ARCH, "os": "linux", "config": {"Cmd": [str(n)]},
                               "rootfs": {"type": "layers", "diff_ids": [ids[0]["digest"]] * 127}},
                              "config.v1+json")
        desc = lay.put_json({"schemaVersion": 2, "config": config, "layers": ids}, "manifest.v1+json")
        desc["annotations"] = {"org.opencontainers.image.ref.name": f"time{n}:1"}
        manifests.append(desc)
    lay.index(manifests)
    lay.archive(out)


# ---- archives ------------------------------------------------------------------------------------

@case('contains ".."')
def member_traversal(out):
    Layout().archive(out, before=entry("../../recap-hostile", b"x"))


@case("twice")
def member_twice(out):
    lay = Layout()
    lay.archive(out, after=entry("index.json", lay.files["index.json"]))


@case("is not a folder")
def blobs_is_a_link(out):
    Layout().archive(out, before=header("blobs/sha256", kind=b"2", link=b"/tmp"))


@case("is not a folder")
def blobs_is_a_file(out):
    Layout().archive(out, before=entry("blobs", b"x"))


@case("is not a regular file")
def index_is_a_link(out):
    Layout().archive(out, before=header("index.json", kind=b"2", link=b"/etc/passwd"), but=("index.json",))


@case("is not a regular file")
def index_is_a_hard_link(out):
    Layout().archive(out, after=header("index.json", kind=b"1", link=b"oci-layout"), but=("index.json",))


@case("is not a regular file")
def blob_is_a_device(out):
    lay = Layout()
    name = lay.blob(lay.config)
    lay.archive(out, after=header(name, kind=b"3"), but=(name,))


@case("is not a regular file")
def blob_is_a_pipe(out):
    lay = Layout()
    name = lay.blob(lay.config)
    lay.archive(out, after=header(name, kind=b"6"), but=(name,))


@case("more than the limit leaves")
def member_of_2_to_60(out):
    write(out, header("index.json", 1 << 60) + b"x" * 512 + END)


@case("damaged|member|limit")
def member_of_less_than_nothing(out):
    write(out, header("index.json", -1) + b"x" * 512 + END)


@case("sha256|damaged|digest|bytes")
def wrong_digest(out):
    lay = Layout()
    name = lay.blob(lay.layers[0])
    lay.files[name] = lay.files[name].replace(b"x", b"y")
    lay.archive(out)


@case("diff ID")
def wrong_diff_id(out):
    Layout(diff_ids=["sha256:" + "1" * 64]).archive(out)


@case("*")
def honest(out):
    Layout(entry("file", os.urandom(100000)) + END).archive(out)


@case("*")
def honest_gzip(out):
    lay = Layout(entry("file", os.urandom(100000)) + END)
    write(out, gzip.compress(lay.tar() + END, mtime=0))


@case("*")
def honest_zstd(out):
    lay = Layout(entry("file", os.urandom(100000)) + END)
    write(out, zstd(lay.tar() + END))


# ---- archives of docker save ---------------------------------------------------------------------

def link(name, to, kind=b"2"):
    return header(name, kind=kind, link=to)


def docker(out, *members, layers=("a/layer.tar",), manifest=None, layer=None, config=None):
    """An honest one, but for what is given; the members of that name are then not made."""
    layer = entry("file", b"x") + END if layer is None else layer
    doc = {"architecture": ARCH, "os": "linux", "config": {"Cmd": ["/bin/sh"]},
           "rootfs": {"type": "layers", "diff_ids": [digest([layer])] * len(layers)}}
    doc.update(config or {})
    if manifest is None:
        manifest = [{"Config": "c.json", "RepoTags": ["hostile:1"], "Layers": list(layers)}]
    if not isinstance(manifest, bytes):
        manifest = json.dumps(manifest).encode()
    data = (b"".join(members or (entry("a/layer.tar", layer),)) + entry("c.json", json.dumps(doc).encode()) +
            entry("manifest.json", manifest) + END)
    DOCKERS.append(data)
    write(out, data)


def docker_case(name, text, *members, **more):
    add("docker-" + name, text, lambda out: docker(out, *members, **more))


@case("*")
def docker_honest(out):
    docker(out, layer=entry("file", os.urandom(100000)) + END)


docker_case("layer-link-leads-out", "leads out", link("a/layer.tar", b"../../../../../etc/passwd"))
docker_case("layer-link-is-absolute", "leads out", link("a/layer.tar", b"/etc/passwd"))
docker_case("layer-hard-link-leads-out", 'contains ".."', link("a/layer.tar", b"../../../etc/passwd", b"1"))
docker_case("links-in-a-circle", "lead nowhere", link("a/layer.tar", b"../b/layer.tar"),
            link("b/layer.tar", b"../a/layer.tar"))
docker_case("layer-path-leads-out", 'contains ".."', layers=("../../../../etc/passwd",))
docker_case("layer-path-is-absolute", "missing", layers=("/etc/passwd",))
docker_case("layer-is-missing", "b/layer.tar", layers=("b/layer.tar",))
docker_case("layer-is-a-device", "a/layer.tar", header("a/layer.tar", kind=b"3"))
docker_case("layer-twice", "twice", entry("a/layer.tar", b"x"), entry("a/layer.tar", b"y"))
docker_case("layer-is-rubbish", "damaged", entry("a/layer.tar", b"rubbish" * 1000))
docker_case("wrong-diff-id", "damaged", config={"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]}})
docker_case("other-machine", "machine", config={"architecture": "s390x" if ARCH != "s390x" else "amd64"})
docker_case("manifest-is-an-object", "manifest.json", manifest={"Config": "c.json"})
docker_case("manifest-is-empty", "manifest.json", manifest=[])
docker_case("manifest-is-deep", "manifest.json", manifest=b"[" * 100000)
docker_case("manifest-without-config", "without a Config", manifest=[{"Layers": ["a/layer.tar"]}])
docker_case("manifest-of-many-images", "1 to 64 images",
            manifest=[{"Config": "c.json", "RepoTags": None, "Layers": ["a/layer.tar"]}] * 1000)
docker_case("manifest-of-many-layers", "up to 127", layers=("a/layer.tar",) * 128)


# ---- documents -----------------------------------------------------------------------------------

def document_case(text, name, data):
    """That index, manifest or config in place of the honest one."""
    def make(out):
        lay = Layout()
        if name == "index":
            lay.files["index.json"] = data
        elif name == "manifest":
            lay.index([lay.put_json(data, "manifest.v1+json")])
        else:
            lay.manifest["config"] = lay.put_json(data, "config.v1+json")
            lay.index([lay.put_json(lay.manifest, "manifest.v1+json")])
        lay.archive(out)
    return text, make


MIB4 = (4 << 20) - 100
for part in ("index", "manifest", "config"):
    CASES[f"deep-json-{part}"] = document_case("JSON", part, b"[" * 50000 + b"]" * 50000)
    CASES[f"deep-objects-{part}"] = document_case("JSON", part, b'{"a":' * 50000 + b"1" + b"}" * 50000)
    # Each of these takes some 300 bytes to 1 KiB once it is parsed.
    CASES[f"objects-by-the-million-{part}"] = document_case(
        "values", part, b"[" + b"{}," * (MIB4 // 3) + b"{}]")
    CASES[f"arrays-by-the-million-{part}"] = document_case(
        "values", part, b"[" + b"[]," * (MIB4 // 3) + b"[]]")
    CASES[f"numbers-by-the-million-{part}"] = document_case(
        "values", part, b"[" + b"0," * (MIB4 // 2) + b"0]")
    CASES[f"not-utf-8-{part}"] = document_case("JSON", part, b'{"a": "\xff\xfe"}')
    CASES[f"null-{part}"] = document_case("", part, b"null")
CASES["members-by-the-hundred-thousand"] = document_case(
    "values", "config", b"{" + b",".join(b'"%d":0' % i for i in range(300000)) + b"}")
CASES["a-long-string"] = document_case("", "index", b'{"manifests": "' + b"x" * MIB4 + b'"}')
CASES["more-than-4-mib"] = document_case("MiB", "manifest", b'{"x": "' + b"x" * (5 << 20) + b'"}')


def manifest_case(**fields):
    return lambda out: Layout(manifest=fields).archive(out)


SOME = {"mediaType": OCI + "layer.v1.tar", "digest": "sha256:" + "a" * 64, "size": 1}
add("unknown-layer-type", "media type", manifest_case(layers=[dict(SOME, mediaType="text/plain")]))
add("foreign-layer-type", "media type",
    manifest_case(layers=[dict(SOME, mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]))
add("config-as-layer", "media type", manifest_case(layers=[dict(SOME, mediaType=OCI + "config.v1+json")]))
add("no-media-type", "media type", manifest_case(layers=[{"digest": SOME["digest"], "size": 1}]))
add("manifest-that-is-an-index", "both an index and a manifest", manifest_case(manifests=[]))
add("manifest-of-another-type", "something else", manifest_case(mediaType=OCI + "index.v1+json"))
add("too-many-layers", "layers", manifest_case(layers=[SOME] * 128))
for n, size in enumerate((-1, 0, 1 << 63, 1 << 64, (1 << 63) - 1, "12", 1.5, None)):
    add(f"descriptor-size-{n}", "size|bytes|missing", manifest_case(layers=[dict(SOME, size=size)]))
for n, text in enumerate(("sha256:../../../etc/passwd", "sha256:" + "A" * 64, "sha512:" + "a" * 128,
                          "sha256:" + "a" * 64 + "\0", "sha256:" + "a" * 100000, 7)):
    add(f"descriptor-digest-{n}", "digest", manifest_case(layers=[dict(SOME, digest=text)]))


@case("media type|something else")
def media_type_twice(out):
    lay = Layout()
    text = json.dumps(lay.manifest).encode()
    lay.index([lay.put_json(b'{"mediaType": "application/x-other", ' + text[1:-1] +
                            b', "mediaType": "application/x-other"}', "manifest.v1+json")])
    lay.archive(out)


@case("deep|index")
def nested_indexes(out):
    lay = Layout()
    desc = lay.put_json(lay.manifest, "manifest.v1+json")
    for _ in range(10):
        desc = lay.put_json({"schemaVersion": 2, "manifests": [desc]}, "index.v1+json")
    lay.index([desc])
    lay.archive(out)


@case("sha256|damaged|deep")
def indexes_in_a_circle(out):
    """Two that name each other: no digest can be right."""
    lay = Layout()
    names = ["a" * 64, "b" * 64]
    docs = []
    for other in reversed(names):
        docs.append(json.dumps({"schemaVersion": 2, "manifests": [
            {"mediaType": OCI + "index.v1+json", "digest": "sha256:" + other, "size": 200}]}).encode().ljust(200))
    for name, doc in zip(names, docs):
        lay.files["blobs/sha256/" + name] = doc
    lay.index([{"mediaType": OCI + "index.v1+json", "digest": "sha256:" + names[0], "size": 200}])
    lay.archive(out)


@case("entries")
def wide_index(out):
    lay = Layout()
    lay.index([lay.put_json(lay.manifest, "manifest.v1+json")] * 65)
    lay.archive(out)


# ---- folders -------------------------------------------------------------------------------------

@case("not a regular file of the layout")
def folder_of_linked_blobs(out):
    Layout().folder(out)
    os.rename(f"{out}/blobs/sha256", f"{out}/real")
    os.symlink("../real", f"{out}/blobs/sha256")


def replaced(make):
    def write_it(out):
        lay = Layout()
        name = lay.blob(lay.layers[0])
        lay.folder(out, but=(name,))
        make(f"{out}/{name}", lay.layers[0]["size"])
    return write_it


def socket_at(path, _size):
    os.chdir(os.path.dirname(path))
    socket.socket(socket.AF_UNIX).bind(os.path.basename(path))


add("folder-with-a-pipe-as-blob", "not a regular file of the layout", replaced(lambda p, s: os.mkfifo(p)))
add("folder-with-a-folder-as-blob", "not a regular file of the layout", replaced(lambda p, s: os.mkdir(p)))
add("folder-with-a-socket-as-blob", "not a regular file of the layout", replaced(socket_at))
add("folder-with-a-link-as-blob", "not a regular file of the layout",
    replaced(lambda p, s: os.symlink("/etc/passwd", p)))
add("folder-with-a-device-as-blob", "not a regular file of the layout",
    replaced(lambda p, s: os.mknod(p, 0o20644, os.makedev(1, 5))))


@case("MiB")
def folder_with_an_index_of_a_terabyte(out):
    Layout().folder(out)
    os.truncate(f"{out}/index.json", 1 << 40)


@case("bytes where")
def folder_with_a_blob_of_a_terabyte(out):
    lay = Layout()
    os.truncate(lay.folder(out) + "/" + lay.blob(lay.layers[0]), 1 << 40)


# ---- the program ---------------------------------------------------------------------------------

def cuts(name, out):
    CASES[name][1](out)
    with open(out, "rb") as file:
        data = file.read()
    for n, size in enumerate(range(4096, len(data) - len(END), 4096), 1):
        write(f"{out}.{n}", data[:size])
    os.unlink(out)


def seeds(out):
    """Cases that take long to make, the bombs, are no use."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, make) in CASES.items():
            if not re.search("bomb|million|8000|many|window", name):
                make(f"{folder}/{name}")
    for many in (*map(Layout.seeds, LAYOUTS), (b"0" + data for data in DOCKERS)):
        for seed in many:
            if len(seed) <= SEED_MAX:
                write(f"{out}/{hashlib.sha256(seed).hexdigest()[:16]}", seed)
                if seed[:1] == b"1":
                    for packed in (gzip.compress(seed[1:], mtime=0), zstd(seed[1:])):
                        write(f"{out}/{hashlib.sha256(packed).hexdigest()[:16]}", b"1" + packed)


def main():
    verb, *rest = sys.argv[1:]
    if verb == "seeds":
        seeds(*rest)
    elif verb == "list":
        for name, (text, _) in CASES.items():
            print(f"{name}\t{text}")
    elif verb == "make":
        for name in rest[1:] or CASES:
            CASES[name][1](f"{rest[0]}/{name}")
    else:
        cuts(*rest)


if __name__ == "__main__":
    main()
