"""delay.py SOCKET MS: a TCP proxy on a free port of 127.0.0.1 (printed) to a Unix socket, MS of round trip away."""

import asyncio
import sys


async def pump(reader, writer, seconds):
    """What comes is passed on `seconds` later, in order, however much is on its way."""
    queue = asyncio.Queue()

    async def send():
        while True:
            at, data = await queue.get()
            wait = at - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
            if data is None:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    sender = asyncio.create_task(send())
    try:
        while True:
            data = await reader.read(1 << 16)
            await queue.put((asyncio.get_running_loop().time() + seconds, data or None))
            if not data:
                break
    except ConnectionError:
        await queue.put((0, None))
    await sender


async def main(path, ms):
    async def serve(reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(path)
            await asyncio.gather(pump(reader, up_writer, ms / 2000), pump(up_reader, writer, ms / 2000))
        except OSError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
