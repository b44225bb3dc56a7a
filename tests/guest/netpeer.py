# SPDX-License-Identifier: MIT
"""The other side of a guest's network interface: a host at 10.0.0.1, played over a socket with a
frame per message. Answers ARP, ICMP echo, UDP to port 7 (sent back) and to port 9 (a frame as large
as the datagram asks for)."""
import struct
import threading

MAC = b"\x02\x00\x00\x00\x00\x01"
ADDRESS = b"\x0a\x00\x00\x01"


def checksum(data):
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(to_mac, to, proto, payload):
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, proto, 0, ADDRESS, to)
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return to_mac + MAC + b"\x08\x00" + header + payload


def answer(frame):
    mac, kind = frame[6:12], frame[12:14]
    if kind == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == ADDRESS:
        return mac + MAC + frame[12:20] + b"\0\2" + MAC + ADDRESS + frame[22:32]
    if kind != b"\x08\x00" or frame[30:34] != ADDRESS:
        return None
    to, proto, payload = frame[26:30], frame[23], frame[34:14 + struct.unpack(">H", frame[16:18])[0]]
    if proto == 1 and payload[0] == 8:
        echo = b"\0\0\0\0" + payload[4:]
        return ip_packet(mac, to, 1, echo[:2] + struct.pack(">H", checksum(echo)) + echo[4:])
    if proto == 17 and payload[2:4] == b"\0\7":
        # As it came, its checksum with it: the guest looks whether that is whole.
        return ip_packet(mac, to, 17, payload)
    if proto == 17 and payload[2:4] == b"\0\x09":
        size = struct.unpack(">H", payload[8:10])[0]
        data = bytes(i * 5 & 255 for i in range(size))
        return ip_packet(mac, to, 17, payload[:4] + struct.pack(">HH", 8 + size, 0) + data)
    return None


def serve(sock):
    """Answer until the other side goes."""
    def loop():
        while True:
            try:
                frame = sock.recv(1 << 17)
                if not frame:
                    return
                reply = answer(frame)
                if reply:
                    sock.send(reply)
            except OSError:
                return
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread
