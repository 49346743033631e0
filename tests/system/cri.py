#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A small client for the Kubernetes Container Runtime Interface: Debian has no crictl.

usage: cri.py version
       cri.py wait-image REFERENCE...                     until containerd's CRI knows them
       cri.py run-pod NAMESPACE NAME [OPTION...]          prints the sandbox's ID
       cri.py run SANDBOX NAMESPACE POD NAME IMAGE [OPTION...] [-- CMD...]   prints the container's ID
       cri.py exec ID CMD...
       cri.py rm ID                                       a container
       cri.py rm-pod ID                                   a sandbox
options: --label KEY=VALUE   --host-network   --user UID   --cgroup-parent PATH   --log-dir FOLDER
$CRI_SOCKET is the runtime's socket.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time

import grpc
from google.protobuf import descriptor_pb2, message_factory

DEADLINE = 60
PROTO = pathlib.Path(__file__).resolve().with_name("cri.proto")


def load_messages():
    """The classes of cri.proto's messages, by name."""
    text = subprocess.run(
        ["protoc", "--descriptor_set_out=/dev/stdout", f"-I{PROTO.parent}", PROTO.name],
        check=True, stdout=subprocess.PIPE).stdout
    files = descriptor_pb2.FileDescriptorSet.FromString(text).file
    return {name.rpartition(".")[2]: cls
            for name, cls in message_factory.GetMessages(files).items()}


M = load_messages()


def call(method, request, response, service="Runtime"):
    channel = grpc.insecure_channel("unix://" + os.environ["CRI_SOCKET"])
    rpc = channel.unary_unary(f"/runtime.v1.{service}Service/{method}",
                              request_serializer=lambda m: m.SerializeToString(),
                              response_deserializer=M[response].FromString)
    return rpc(request, timeout=DEADLINE)


def call_id(method, ident):
    return call(method, M["IdRequest"](id=ident), "Empty")


def parse_options(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--label", action="append", default=[])
    parser.add_argument("--host-network", action="store_true")
    parser.add_argument("--user", type=int)
    parser.add_argument("--cgroup-parent", default="")
    parser.add_argument("--log-dir", default="/tmp")
    return parser.parse_args(argv)


def labels_of(options, **own):
    labels = {"io.kubernetes." + key.replace("_", "."): value for key, value in own.items()}
    labels.update(label.split("=", 1) for label in options.label)
    return labels


def pod_config(namespace, name, options):
    uid = f"uid-{namespace}-{name}"
    config = M["PodSandboxConfig"](
        metadata=M["PodSandboxMetadata"](name=name, uid=uid, namespace=namespace),
        hostname=name, log_directory=options.log_dir,
        labels=labels_of(options, pod_name=name, pod_namespace=namespace, pod_uid=uid))
    config.linux.cgroup_parent = options.cgroup_parent
    if options.host_network:
        config.linux.security_context.namespace_options.network = 2
    return config


def run_pod(namespace, name, *argv):
    config = pod_config(namespace, name, parse_options(argv))
    print(call("RunPodSandbox", M["RunPodSandboxRequest"](config=config),
               "RunPodSandboxResponse").pod_sandbox_id)


def run(sandbox, namespace, pod, name, image, *argv):
    split = argv.index("--") if "--" in argv else len(argv)
    options = parse_options(argv[:split])
    config = M["ContainerConfig"](
        metadata=M["ContainerMetadata"](name=name), image=M["ImageSpec"](image=image),
        command=argv[split + 1:], log_path=f"{pod}-{name}.log",
        labels=labels_of(options, container_name=name, pod_name=pod, pod_namespace=namespace))
    # A PID namespace of its own, as the kubelet asks for; the interface's default is the pod's.
    config.linux.security_context.namespace_options.pid = 1
    if options.user is not None:
        config.linux.security_context.run_as_user.value = options.user
    request = M["CreateContainerRequest"](pod_sandbox_id=sandbox, config=config,
                                          sandbox_config=pod_config(namespace, pod, options))
    ident = call("CreateContainer", request, "CreateContainerResponse").container_id
    call_id("StartContainer", ident)
    print(ident)


def execute(ident, *cmd):
    request = M["ExecSyncRequest"](container_id=ident, cmd=cmd, timeout=DEADLINE)
    done = call("ExecSync", request, "ExecSyncResponse")
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    sys.exit(done.exit_code)


def remove(ident):
    call_id("StopContainer", ident)
    call_id("RemoveContainer", ident)


def remove_pod(ident):
    call_id("StopPodSandbox", ident)
    call_id("RemovePodSandbox", ident)


def wait_image(*references):
    """An image that ctr imported reaches the CRI plugin as an event, a moment later."""
    end = time.monotonic() + 10
    for reference in references:
        request = M["ImageStatusRequest"](image=M["ImageSpec"](image=reference))
        while not call("ImageStatus", request, "ImageStatusResponse", "Image").image.id:
            if time.monotonic() > end:
                sys.exit(f"cri.py: the runtime does not know {reference} after 10 s")
            time.sleep(0.02)


VERBS = {"version": lambda: call_id("Version", "v1"), "wait-image": wait_image,
         "run-pod": run_pod, "run": run, "exec": execute, "rm": remove, "rm-pod": remove_pod}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in VERBS:
        sys.exit(__doc__)
    try:
        VERBS[sys.argv[1]](*sys.argv[2:])
    except grpc.RpcError as error:
        sys.exit(f"cri.py: {error.details()}")


main()
