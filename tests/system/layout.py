#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""OCI layouts that no tool would make.

usage: layout.py LAYOUT config|manifest|index FILTER   change a part with jq; what leads to it follows
       layout.py LAYOUT new MEMBER...                  one layer with these members, in this order:
           NAME=TEXT a file, NAME/=x a folder, NAME->TO a symbolic link, NAME=>TO a hard link,
           NAME!FIFO, NAME!BLOCK special files
"""
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

OCI = "application/vnd.oci.image."


def put(layout, data, kind):
    name = hashlib.sha256(data).hexdigest()
    folder = f"{layout}/blobs/sha256"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{name}", "wb") as file:
        file.write(data)
    return {"mediaType": OCI + kind, "digest": f"sha256:{name}", "size": len(data)}


def get(layout, descriptor):
    with open(f"{layout}/blobs/sha256/{descriptor['digest'][7:]}", "rb") as file:
        return file.read()


def changed(data, wanted):
    return subprocess.run(["jq", "-c", wanted], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


def put_index(layout, index):
    with open(f"{layout}/index.json", "wb") as file:
        file.write(index)


def edit(layout, part, wanted):
    with open(f"{layout}/index.json", "rb") as file:
        index = file.read()
    if part == "index":
        put_index(layout, changed(index, wanted))
        return
    index = json.loads(index)
    manifest = get(layout, index["manifests"][0])
    if part == "manifest":
        manifest = changed(manifest, wanted)
    else:
        fields = json.loads(manifest)
        fields["config"] = put(layout, changed(get(layout, fields["config"]), wanted),
                               "config.v1+json")
        manifest = json.dumps(fields).encode()
    index["manifests"][0].update(put(layout, manifest, "manifest.v1+json"))
    put_index(layout, json.dumps(index).encode())


def member(text):
    info, data = tarfile.TarInfo(), None
    info.mode = 0o755
    for mark, kind in (("->", tarfile.SYMTYPE), ("=>", tarfile.LNKTYPE)):
        if mark in text:
            info.name, info.linkname = text.split(mark, 1)
            info.type = kind
            return info, data
    if "!" in text:
        info.name, kind = text.split("!")
        info.type = {"FIFO": tarfile.FIFOTYPE, "BLOCK": tarfile.BLKTYPE}[kind]
        info.devmajor, info.devminor = 8, 0
        return info, data
    info.name, content = text.split("=", 1)
    if info.name.endswith("/"):
        info.type = tarfile.DIRTYPE
    else:
        data = content.encode()
        info.size = len(data)
    return info, data


def new(layout, members):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for text in members:
            info, data = member(text)
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    layer = layer.getvalue()
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                "config": put(layout, json.dumps(config).encode(), "config.v1+json"),
                "layers": [put(layout, layer, "layer.v1.tar")]}
    index = {"schemaVersion": 2, "manifests": [
        put(layout, json.dumps(manifest).encode(), "manifest.v1+json")]}
    put_index(layout, json.dumps(index).encode())
    with open(f"{layout}/oci-layout", "w", encoding="ascii") as file:
        file.write('{"imageLayoutVersion": "1.0.0"}')


def main():
    if sys.argv[2] == "new":
        new(sys.argv[1], sys.argv[3:])
    else:
        edit(*sys.argv[1:])


main()
