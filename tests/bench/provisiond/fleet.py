"""Devices that are cheap to fake: identity key, request and TLS context are made beforehand, so that while
the clock runs a device only talks."""

import asyncio
import json
import time

from device import Device

SOURCES = 64  # addresses of 127.0.1.0/24, because one address may have 256 connections


class FakeDevice(Device):
    def __init__(self, folder, service, number):
        super().__init__(folder, service.provisiond.server, service.provisiond.ca)
        self.tls = self.context()
        self.body = self.csr()
        self.source = f"127.0.1.{1 + number % SOURCES}"
        self.stream = None
        self.took_s = 0.0

    async def connect(self):
        host, port = self.server
        self.stream = await asyncio.open_connection(host, port, ssl=self.tls, local_addr=(self.source, 0))

    async def ask(self, method, path, body=b""):
        """(status, body) on the device's one connection."""
        reader, writer = self.stream
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                     + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, length = int(head[9:12]), 0
        for line in head.split("\r\n"):
            if line.lower().startswith("content-length:"):
                length = int(line[15:])
        return status, await reader.readexactly(length)

    async def enrol(self):
        await self.connect()
        status, text = await self.ask("POST", "/v1/enroll", json.dumps({"zone": self.zone}).encode())
        assert status == 201, (status, text)

    async def submit(self):
        status, text = await self.ask("POST", "/v1/certificate", self.body)
        assert status in (200, 202), (status, text)

    async def collect(self, deadline_s):
        began = time.monotonic()
        while True:
            status, text = await self.ask("GET", "/v1/certificate?wait=60")
            if status == 200:
                return
            assert status == 202 and time.monotonic() - began < deadline_s, (status, text)

    async def issue(self, deadline_s):
        began = time.monotonic()
        await self.submit()
        await self.collect(deadline_s)
        self.took_s = time.monotonic() - began

    def hang_up(self):
        if self.stream is not None:
            self.stream[1].transport.abort()
        self.stream = None


def make(folder, service, n):
    folder.mkdir(exist_ok=True)
    return [FakeDevice(folder, service, i) for i in range(n)]


async def at_once(devices, n_at_once, what):
    """what(device) for each, so many at a time."""
    gate = asyncio.Semaphore(n_at_once)

    async def one(device):
        async with gate:
            await what(device)
    await asyncio.gather(*(one(d) for d in devices))


def run(devices, n_at_once, what):
    asyncio.run(at_once(devices, n_at_once, what))


async def watching(look):
    while True:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(look)


def run_steps(steps, watch=None):
    """Several (devices, n_at_once, what, then) in one event loop, whose connections go on until its end;
    watch() is called twice a second meanwhile."""
    async def all_of():
        watcher = asyncio.create_task(watching(watch)) if watch is not None else None
        for devices, n_at_once, what, then in steps:
            await at_once(devices, n_at_once, what)
            then()
        if watcher is not None:
            watcher.cancel()
        for d in steps[0][0]:
            d.hang_up()
        await asyncio.sleep(0.1)  # lets them be closed
    asyncio.run(all_of())
