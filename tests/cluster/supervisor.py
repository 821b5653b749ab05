"""Runs the processes of a test cluster inside its namespaces; only the standard library.

Three things, until its standard input ends, which is when the one who started it is gone:

- it starts and stops processes by name, as it is told on the socket ``/run/state/control`` (one JSON object a line);
- it relays: sockets that listen on the machine's loopback are handed to it, and what connects there comes out at an
  address inside;
- as the first process of its pid namespace it clears up after all others, and when it ends they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

STATE = Path("/run/state")


class Supervisor:
    """The processes by name; one that has ended stays known until it is started again."""

    def __init__(self) -> None:
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.commands: dict[str, tuple[list[str], dict[str, str]]] = {}

    async def add(self, name: str, command: list[str], environment: dict[str, str]) -> dict[str, object]:
        """Start a process that may be started again by its name alone."""
        self.commands[name] = command, environment
        return await self.start(name)

    async def start(self, name: str) -> dict[str, object]:
        if name not in self.commands:
            return self.unknown(name)
        command, environment = self.commands[name]
        known = self.processes.get(name)
        if known is not None and known.returncode is None:
            return {"error": f"{name} runs already, as process {known.pid}"}
        with (STATE / "log" / f"{name}.log").open("ab") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return {"pid": self.processes[name].pid}

    async def signal(self, name: str, number: int, *, wait: bool) -> dict[str, object]:
        """Send a signal and, if so told, wait until the process is gone; ``code`` is how it ended."""
        if (process := self.processes.get(name)) is None:
            return self.unknown(name)
        if process.returncode is None:
            process.send_signal(number)
        return {"code": await process.wait() if wait else process.returncode}

    def unknown(self, name: str) -> dict[str, object]:
        return {"error": f"there is no process {name}; there are {', '.join(self.commands)}"}

    async def status(self) -> dict[str, object]:
        """The exit code by name; None while it runs."""
        return {"codes": {name: process.returncode for name, process in self.processes.items()}}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client, request by request."""
        while line := await reader.readline():
            request = json.loads(line)
            try:
                answer = await getattr(self, request.pop("do"))(**request)
            except OSError as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes over until one side ends, and hand its end on."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def relay(listener: int, host: str, port: int) -> asyncio.Server:
    """Whoever connects to the socket ``listener`` talks to ``host:port``, or is cut off where nobody listens there."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            there, back = await asyncio.open_connection(host, port)
            with contextlib.closing(back):
                await asyncio.gather(pump(reader, back), pump(there, writer))

    return await asyncio.start_server(connected, sock=socket.socket(fileno=listener))


async def main() -> None:
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(0, lambda: gone.set() if not os.read(0, 4096) else None)
    supervisor = Supervisor()
    relays = [await relay(*one) for one in json.loads(sys.argv[1])]
    control = await asyncio.start_unix_server(supervisor.serve, STATE / "control")
    await gone.wait()
    for server in (control, *relays):
        server.close()
    os._exit(0)  # nothing is to be saved, and the kernel ends everybody else


if __name__ == "__main__":
    if child := os.fork():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while os.wait()[0] != child:  # orphans of others, too, are ours
            pass
    else:
        asyncio.run(main())
