"""Running processes: the server, and the worker of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import structlog
import uvicorn

from app.asgi import create_app
from app.queue import Redis
from app.runtime import open_services, open_worker, spare_collector
from app.settings import Settings
from schema.kernel.context import Services
from schema.organizations.setup import ensure_setup_token

log = structlog.get_logger(__name__)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 10


class Server(uvicorn.Server):
    """Uvicorn, without raising the stop signal again at the end: our own clean-up comes after it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)


async def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM; embedded, it works on scans, too."""
    connections = Redis(settings.redis_url)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings, connections))
        spare_collector()
        if settings.embedded:
            await stack.enter_async_context(open_worker(settings, connections, services))
        config = uvicorn.Config(
            create_app(settings, services),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the client's address is our own decision, by HARBORGUARD_TRUSTED_PROXIES
            timeout_graceful_shutdown=GRACE_SECONDS,
            ws="websockets-sansio",
        )
        with config.bind_socket() as listener:
            await _offer_setup(services, settings.public_url or f"http://{settings.host}:{listener.getsockname()[1]}")
            await Server(config).serve(sockets=[listener])


async def _offer_setup(services: Services, address: str) -> None:
    async with services.database.write() as session:
        token = await ensure_setup_token(session, services.mint, now=services.clock())
    if token is not None:
        sys.stderr.write(
            "\nThis server has no organization yet. Create it and its owner with this one-time token:\n\n"
            f"  {token}\n\n"
            f'  curl -s {address}/api/setup -H \'Content-Type: application/json\' -d \'{{"token": "{token}", '
            '"organization": "Acme", "email": "you@example.com", "name": "You", "password": "…"}\'\n\n'
        )
        sys.stderr.flush()


async def work(settings: Settings) -> None:
    """Works on scans until SIGINT or SIGTERM, then hands running ones back."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    connections = Redis(settings.redis_url)
    async with open_services(settings, connections) as services, open_worker(settings, connections, services):
        spare_collector()
        await stopped.wait()
