# SPDX-License-Identifier: MIT
"""Domains: configuration, life cycle, facts, errors."""
import os
import pickle
import re
import socket
import uuid

import pytest
from conftest import LONG, SOURCE, guest

import pvvirt
from pvvirt import (Action, ConsoleType, Disk, DomainConfig, DomainState, Forward, Interface, MiB, PausedReason, ShutoffReason,
                    StartFlags)


def test_version():
    assert pvvirt.version() == pvvirt.__version__
    major, minor, micro = map(int, pvvirt.version().split("."))
    assert pvvirt.version_number() == major * 1000000 + minor * 1000 + micro
    assert pvvirt.has_feature("executor.ring3") and not pvvirt.has_feature("nonsense")
    assert f"version: '{pvvirt.version()}'" in (SOURCE / "meson.build").read_text()
    assert f'version = "{pvvirt.version()}"' in (SOURCE / "bindings/python/pyproject.toml").read_text()


def test_hello(make):
    domain = make("hello")
    assert domain.status.state == DomainState.SHUTOFF and not domain.status.active and domain.id == -1
    console = domain.open_console()
    domain.start()
    status = domain.join(LONG)
    assert status.state == DomainState.SHUTOFF and status.reason is ShutoffReason.SHUTDOWN
    assert status.powered_off and status.text == "" and str(status) == "shutoff (shutdown)"
    assert b"Hello, world!" in console.readall()
    stats = domain.stats()
    assert stats.hypercalls > 0 and stats.console_out > 100 and stats.memory == 16 * MiB
    info = domain.info
    assert info.state is DomainState.SHUTOFF and info.max_memory == 16 * MiB and info.max_vcpus == 1


def test_pause_resume_destroy(make, start_paused):
    domain = make("end-spin")
    start_paused(domain)
    assert domain.state == DomainState.PAUSED and domain.id > 0
    domain.resume()
    domain.pause()
    status = domain.status
    assert status.state == DomainState.PAUSED and status.reason is PausedReason.USER and status.active
    with pytest.raises(pvvirt.StateError):
        domain.start()
    assert domain.info.executor in (pvvirt.Executor.RING3, pvvirt.Executor.KVM)
    assert domain.info.state is DomainState.PAUSED and domain.info.reason is PausedReason.USER
    domain.destroy()
    assert domain.status.reason is ShutoffReason.DESTROYED
    with pytest.raises(pvvirt.StateError) as e:
        domain.destroy()
    assert e.value.code is pvvirt.ErrorCode.ESTATE and domain.name in str(e.value)


def test_pause_and_resume_need_not_wait_for_the_start(make):
    domain = make("hello")
    domain.start(StartFlags.PAUSED)
    domain.resume()
    assert domain.join(LONG).powered_off
    domain.start()
    domain.pause()
    assert domain.state == DomainState.PAUSED
    domain.resume()
    assert domain.join(LONG).powered_off


def test_again(make):
    domain = make("hello")
    for _ in range(3):
        domain.start()
        assert domain.join(LONG).powered_off


def test_crash(make):
    domain = make("end-crash")
    domain.start()
    status = domain.join(LONG)
    assert status.state == DomainState.SHUTOFF and status.reason is ShutoffReason.CRASHED and status.text
    assert not status.powered_off


def test_preserved_crash(make):
    domain = make("end-crash", on_crash=Action.PRESERVE)
    domain.start()
    status = domain.join(LONG)
    assert status.state == DomainState.CRASHED and status.reason is pvvirt.CrashedReason.PANICKED
    domain.destroy()


def test_join_times_out(make):
    domain = make("end-spin")
    domain.start()
    for timeout in 0, 0.01, 0.45:
        with pytest.raises(pvvirt.TimedOutError) as e:
            domain.join(timeout)
        assert isinstance(e.value, TimeoutError) and domain.name in str(e.value)


def test_stop_with_grace(host, make):
    domain = make("service")
    with host.events() as events:
        domain.start()
        domain.open_console().read_until("service ready", LONG)
        domain.reboot()
        while (event := events.next(LONG)).type != pvvirt.EventType.REBOOT:
            if event.type == pvvirt.EventType.SHUTDOWN:
                assert event.detail is pvvirt.EventShutdown.REBOOT and "(reboot)" in str(event)
        while domain.status.state == DomainState.PAUSED:
            events.next(0.1)
    domain.shutdown()
    assert domain.join(LONG).powered_off
    assert domain.stop().powered_off


def test_stop_is_firm_in_the_end(make):
    domain = make("end-spin")
    domain.start()
    assert domain.stop(timeout=0.1).reason is ShutoffReason.DESTROYED
    assert domain.stop().reason is ShutoffReason.DESTROYED  # not active: fine


def test_with_ends_the_guest(host):
    with host.create(name="d", kernel=guest("end-spin"), memory=16 * MiB) as domain:
        domain.start()
        other = host.lookup("d")
        assert other == domain and hash(other) == hash(domain) and other is not domain
        assert host.active_domains() == [domain]
    assert other.state == DomainState.SHUTOFF
    assert host.active_domains() == [] and host.domains() == [other]
    with pytest.raises(pvvirt.InvalidArgumentError, match="closed"):
        domain.start()
    assert domain.name == "d" and "closed" in repr(domain) and domain != other


def test_with_host_ends_its_guests():
    with pvvirt.Host() as host:
        a = host.create(name="a", kernel=guest("end-spin"), memory=16 * MiB)
        b = host.create(name="b", kernel=guest("end-spin"), memory=16 * MiB)
        a.start()
        b.start(StartFlags.AUTODESTROY)
    assert a.state == b.state == DomainState.SHUTOFF
    with pytest.raises(pvvirt.InvalidArgumentError, match="closed"):
        host.domains()
    assert "closed" in repr(host)


def test_lookup(host, make):
    a, b = make("hello"), make("hello", uuid="1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")
    assert host.lookup(a.name) == a != b
    assert host.lookup_uuid(b.uuid) == host.lookup_uuid(str(b.uuid).upper()) == b
    assert b.uuid == uuid.UUID("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")
    assert set(host.domains()) == {a, b}
    with pytest.raises(pvvirt.NotFoundError) as e:
        host.lookup("nobody")
    assert isinstance(e.value, LookupError) and e.value.object == "nobody"
    with pytest.raises(pvvirt.NotFoundError):
        host.lookup_uuid(uuid.uuid4())
    with pytest.raises(pvvirt.ExistsError):
        make("hello", name=a.name)
    name = a.name
    del a
    with pytest.raises(pvvirt.NotFoundError):
        host.lookup(name)  # shut off and no object left: gone


def test_xml_both_ways(host, make):
    domain = make("hello", cmdline="a <b> & 'c'", on_reboot=Action.DESTROY, console=ConsoleType.NULL,
                  disks=[Disk(path="/nowhere/ä.img", target="xvdb", readonly=True)])
    xml = domain.xml
    assert "a &lt;b&gt; &amp; 'c'" in xml and "/nowhere/ä.img" in xml and "<readonly/>" in xml
    domain.close()
    again = host.create_xml(xml)
    assert again.xml == xml and again.warnings == []


def test_xml_errors_and_warnings(host):
    xml = """<domain type='xen'><name>w</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='xenpv'>linux</type><kernel>/k</kernel></os>
<devices><video/></devices></domain>"""
    domain = host.create_xml(xml)
    assert len(domain.warnings) == 1 and "video" in domain.warnings[0]
    domain.close()
    with pytest.raises(pvvirt.UnsupportedError, match="video"):
        host.create_xml(xml, strict=True)
    with pytest.raises(pvvirt.XMLError) as e:
        host.create_xml("<domain type='xen'>\n<name>x</nam></domain>")
    assert e.value.subsystem is pvvirt.ErrorSubsystem.XML and ":2:" in str(e.value)
    with pytest.raises(pvvirt.InvalidArgumentError, match="NUL"):
        host.create_xml("<domain>\0</domain>")
    with pytest.raises(TypeError):
        host.create_xml(b"<domain/>")


@pytest.mark.parametrize("fields, what", [
    (dict(name="a/b"), "name"), (dict(name=""), "name"), (dict(name="x\0y"), "NUL"), (dict(memory=1), "memory"),
    (dict(memory=-1), "memory"), (dict(memory=1 << 64), "memory"), (dict(vcpus=33), "vcpu"),
    (dict(executor=9), "executor"), (dict(console=99), "console"), (dict(on_crash=77), "on_crash"),
    (dict(uuid="nonsense"), "uuid"), (dict(cmdline="x" * 2000), "1023"), (dict(kernel_fd=-1), "kernel_fd"),
    (dict(disks=[Disk()]), "disk"), (dict(disks=[Disk(fd=-5)]), "disks.0..fd"), (dict(disks=[Disk(path="a\0")]), "NUL"),
    (dict(interfaces=[Interface(mac="nonsense")]), "nonsense"), (dict(interfaces=[Interface(mtu=-1)]), "interfaces.0..mtu"),
    (dict(interfaces=[Interface(forwards=[Forward(0)])]), "port"), (dict(interfaces=[Interface(fd=-2)]), "fd"),
    (dict(interfaces=[Interface(type=99)]), "type|interface"),
    (dict(disks=[Disk(path="/a", target="not a name")]), "target"), (dict(console=ConsoleType.FILE), "path"),
])
def test_bad_configuration_is_named(host, fields, what):
    with pytest.raises(pvvirt.Error, match=what) as e:
        host.create(**{"name": "bad", "kernel": "/k", **fields})
    assert e.value.code in (pvvirt.ErrorCode.EINVAL, pvvirt.ErrorCode.ELIMIT)
    assert host.domains() == []


def test_create_takes_one_form(host):
    config = DomainConfig(name="c", kernel="/k")
    with pytest.raises(TypeError):
        host.create(config, memory=1)
    with pytest.raises(TypeError):
        host.create(name="x", kernle="/k")
    assert host.create(config).name == "c"


def test_missing_files(host):
    for field in "kernel", "initrd":
        fields = {"kernel": guest("hello"), field: "/nowhere/file"}
        with host.create(name="m", memory=16 * MiB, **fields) as domain:
            with pytest.raises(pvvirt.NotFoundError, match="/nowhere/file") as e:
                domain.start()
            assert e.value.os_errno == 2
    with host.create(name="m", kernel=guest("hello"), disks=[Disk(path="/nowhere/disk")]) as domain:
        with pytest.raises(pvvirt.NotFoundError, match="/nowhere/disk"):
            domain.start()


def test_bad_image(host, tmp_path):
    (tmp_path / "k").write_bytes(b"not a kernel" * 1000)
    domain = host.create(name="image", kernel=tmp_path / "k", memory=16 * MiB)
    domain.start()
    status = domain.join(LONG)
    assert status.reason is ShutoffReason.FAILED and status.text


def test_descriptors(host, tmp_path):
    image = tmp_path / "disk"
    image.write_bytes(bytes(MiB))
    kernel = os.open(guest("hello"), os.O_RDONLY)
    disk = os.open(image, os.O_RDWR)
    domain = host.create(name="fds", kernel_fd=kernel, memory=16 * MiB, disks=[Disk(fd=disk)])
    os.close(kernel)  # the library has its own
    os.close(disk)
    domain.start()
    assert domain.join(LONG).powered_off


def test_disk_statistics(chatty, tmp_path):
    domain = chatty
    domain.start()
    assert domain.join(LONG).powered_off
    stats = domain.block_stats("xvda")
    assert stats.wr_bytes > 0 and stats.rd_req > 0 and stats.flush_req > 0
    assert domain.block_stats("xvdb").wr_bytes == 0
    with pytest.raises(pvvirt.NotFoundError, match="xvdz"):
        domain.block_stats("xvdz")
    assert any((tmp_path / "a").read_bytes())


def test_network(host):
    """Frames go through a socket that the program holds the other end of."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    forward = Forward(2222, to=22, address="127.0.0.1")
    with ours, theirs, host.create(name="net", kernel=guest("hello"), memory=16 * MiB, interfaces=[
            Interface(fd=theirs.fileno(), mac="00:16:3e:00:00:01", mtu=1400), Interface(forwards=[forward])]) as domain:
        assert "00:16:3e:00:00:01" in domain.xml and "2222" in domain.xml
        for name in "00:16:3e:00:00:01", "0", 0:
            assert domain.interface_stats(name).rx_packets == 0
        with pytest.raises(pvvirt.NotFoundError):
            domain.interface_stats("eth9")


def test_file_and_pty_consoles(make, start_paused, tmp_path):
    domain = make("hello")
    domain.set_console(ConsoleType.FILE, tmp_path / "log")
    domain.start()
    domain.join(LONG)
    assert b"Hello, world!" in (tmp_path / "log").read_bytes()
    domain.set_console(ConsoleType.PTY)
    start_paused(domain)
    assert domain.console_path().startswith("/dev/pts/")
    with pytest.raises(pvvirt.StateError):
        domain.set_console(ConsoleType.NULL)
    domain.destroy()
    with pytest.raises(pvvirt.NotFoundError):
        domain.console_path(7)


def test_executor_is_chosen(make, start_paused):
    domain = make("hello")
    domain.set_executor(pvvirt.Executor.RING3)
    start_paused(domain)
    assert domain.info.executor is pvvirt.Executor.RING3
    domain.resume()
    assert domain.join(LONG).powered_off
    with pytest.raises(pvvirt.InvalidArgumentError):
        domain.set_executor(77)


@pytest.mark.parametrize("allowed", [True, False])
def test_brief_turns_are_chosen(make, allowed):
    domain = make("access-bits", memory=64 * MiB)
    domain.set_executor(pvvirt.Executor.RING3)
    domain.set_brief_turns(allowed)
    assert ("briefTurns='no'" in domain.xml) is not allowed
    domain.start()
    assert domain.join(LONG).powered_off
    stats = domain.stats()
    assert (stats.brief_turns > 0) is allowed
    assert allowed or stats.user_turns > 0
    with pytest.raises(pvvirt.InvalidArgumentError):
        domain.set_brief_turns(2)


@pytest.mark.parametrize("fields, message", [
    ({"disks": ["x.img"]}, r"DomainConfig.disks\[0\] must be a pvvirt.Disk, not str"),
    ({"disks": "x.img"}, "DomainConfig.disks must be a list of pvvirt.Disk, not str"),
    ({"disks": pvvirt.Disk("x.img")}, "DomainConfig.disks must be a list of pvvirt.Disk, not Disk"),
    ({"disks": [pvvirt.Disk(fd="x")]}, r"DomainConfig.disks\[0\].fd must be an int, not str"),
    ({"interfaces": ["user"]}, r"DomainConfig.interfaces\[0\] must be a pvvirt.Interface, not str"),
    ({"interfaces": [pvvirt.Interface(forwards=[80])]}, r"interfaces\[0\].forwards\[0\] must be a pvvirt.Forward, not int"),
    ({"memory": "64M"}, "DomainConfig.memory must be an int, not str"),
    ({"executor": "kvm"}, "DomainConfig.executor must be an int, not str"),
    ({"kernel": 3}, "DomainConfig.kernel must be a str or a path, not int"),
])
def test_mistakes_are_named(host, fields, message):
    with pytest.raises(TypeError, match=message):
        host.create(**{"name": "x", "kernel": guest("hello"), **fields})


def test_uuid(host):
    number = uuid.UUID(int=4711)
    domain = host.create(name="u", kernel=guest("hello"), uuid=number)
    assert domain.uuid == number and host.lookup_uuid(number) == domain == host.lookup_uuid(str(number))


def test_capabilities(host):
    found = host.capabilities()
    assert found["version"] == pvvirt.version()
    assert {e["name"] for e in found["executors"]} >= {"ring3", "kvm"}
    assert set(found["limits"]) == {"vcpus", "disks", "interfaces", "consoles", "channels"}
    # What the header says of pvv_has_feature() is what it knows.
    header = (SOURCE / "include/pvvirt/version.h").read_text()
    told = re.findall(r'"([\w.]+)"', re.search(r"@param feature (.*?)@return", header, re.S).group(1))
    assert sorted(told) == sorted(found["features"]) and len(told) > 10
    assert all(pvvirt.has_feature(f) for f in told)


def test_inspect(tmp_path):
    by_path = pvvirt.inspect_image(guest("hello"))
    with open(guest("hello"), "rb") as f:
        assert pvvirt.inspect_image(fd=f.fileno()) == by_path
    assert by_path["format"].lower().startswith("elf")
    (tmp_path / "x").write_bytes(b"#!/bin/sh\n" * 100)
    with pytest.raises(pvvirt.ImageError):
        pvvirt.inspect_image(tmp_path / "x")
    with pytest.raises(pvvirt.NotFoundError):
        pvvirt.inspect_image("/nowhere")
    for wrong in {}, {"path": "/x", "fd": 1}, {"fd": -1}:
        with pytest.raises(pvvirt.InvalidArgumentError):
            pvvirt.inspect_image(**wrong)


def test_errors_travel(host):
    with pytest.raises(pvvirt.XMLError) as e:
        host.create_xml("<domain")
    copy = pickle.loads(pickle.dumps(e.value))
    assert type(copy) is pvvirt.XMLError and vars(copy) == vars(e.value) and str(copy) == str(e.value)
    timeout = pvvirt.TimedOutError(-12, "too late", 4, 0, "x")
    assert str(pickle.loads(pickle.dumps(timeout))) == "too late"


def test_memory_and_vcpus(make, start_paused):
    domain = make("service", memory=64 * MiB)
    with pytest.raises(pvvirt.StateError):
        domain.set_memory(32 * MiB)
    console = domain.open_console()
    domain.start()
    console.read_until("service ready", LONG)
    domain.set_memory(32 * MiB)  # asked for; this guest has no balloon driver
    domain.set_vcpus(1)
    for call, value in (domain.set_memory, 1), (domain.set_memory, -1), (domain.set_vcpus, 0), (domain.set_vcpus, 2), \
            (domain.set_vcpus, 1 << 32), (domain.open_console, -1), (domain.set_memory, 65 * MiB):
        with pytest.raises(pvvirt.InvalidArgumentError):
            call(value)
    assert domain.stop(LONG).powered_off


def test_autodestroy_waits_for_close(host, make):
    domain = make("end-spin")
    domain.start(StartFlags.AUTODESTROY)
    watcher = host.events()
    name = domain.name
    domain.close()
    while (event := watcher.next(LONG)).type != pvvirt.EventType.STOPPED:
        pass
    assert event.detail is pvvirt.EventStopped.DESTROYED
    with pytest.raises(pvvirt.NotFoundError):
        host.lookup(name)


def test_autodestroy_that_ended_by_itself_is_forgotten(host, make):
    from pvvirt import _domain
    domain = make("hello")
    domain.start(StartFlags.AUTODESTROY)
    domain.join(LONG)
    name = domain.name
    del domain
    make("hello")  # this is when ended ones are looked for
    assert not _domain._autodestroy
    with pytest.raises(pvvirt.NotFoundError):
        host.lookup(name)
    failing = host.create(name="f", kernel="/nowhere")
    with pytest.raises(pvvirt.NotFoundError):
        failing.start(StartFlags.AUTODESTROY)
    assert not _domain._autodestroy


def test_grub(host, grub):
    domain = host.create(name="grub", kernel=grub, memory=64 * MiB)
    console = domain.open_console()
    domain.start()
    console.read_until("grub> ", LONG)
    console.write(b"halt\r")
    assert domain.join(LONG).powered_off
