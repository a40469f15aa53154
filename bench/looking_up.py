"""What people look for among a million findings: a word, a grouped view, what is overdue."""

from __future__ import annotations

import statistics
import time

from bench.product import Product
from bench.results import Result

LOOK_UPS = {
    "search for a word that few have": "/api/vulnerabilities?search=library-77",
    "search for a word that all have": "/api/vulnerabilities?search=parser",
    "search for an id": "/api/vulnerabilities?search=CVE-2024",
    "what is overdue": "/api/vulnerabilities?overdue=true&sort=severity:desc",
    "critical ones of an image": "/api/vulnerabilities?image=registry.example/team-7/service-7&severity=CRITICAL",
    "the same flaw everywhere": "/api/vulnerabilities/groups?by=FLAW",
    "the packages with the most": "/api/vulnerabilities/groups?by=PACKAGE",
    "the images with the most": "/api/vulnerabilities/groups?by=IMAGE",
}


async def measure(name: str, product: Product, count: int, rounds: int) -> list[Result]:
    results = []
    for what, url in LOOK_UPS.items():
        times = []
        await product.get(url)
        for _ in range(rounds):
            began = time.perf_counter()
            await product.get(url)
            times.append((time.perf_counter() - began) * 1000)
        median = f"{statistics.median(times):.1f} ms"
        results.append(Result("look-ups", f"{name}, {count:,} findings, {what}, median", median, ""))
    return results
