"""Clients of Python. `python3 python.py CLIENT URLS LANES REQUESTS GAPS BODY`; the lanes, and what is
printed, are described in trial.rs."""

import asyncio
import collections
import importlib
import ssl
import sys
import threading
import time

STAGGER_SECS = 0.004

name, urls, lanes, requests_each, gaps, body = sys.argv[1:]
urls = urls.split(",")
gaps_secs = [int(millis) / 1000 for millis in gaps.split(",")]
library = importlib.import_module(name)

answered = 0
late_secs = 0
errors = collections.Counter()
counting = threading.Lock()


def count(status, text):
    """Counts one answer, or one error if the status is None."""
    global answered
    with counting:
        if status == 200 and text == body:
            answered += 1
        else:
            errors[f"{status} {text}" if status else text] += 1


def note_start(due):
    """Notes that a request is made now that was due at this time."""
    global late_secs
    with counting:
        late_secs = max(late_secs, time.monotonic() - due)


def pause_before(lane, request):
    """The pause of a lane before a request, in seconds."""
    return gaps_secs[(lane + request) % len(gaps_secs)] if request else lane * STAGGER_SECS


# Each returns the client of one lane: a function from a URL to a status and a text.

# Making one context for each client would take more time than everything else.
context = ssl.create_default_context()


def with_requests():
    session = library.Session()

    def get(url):
        response = session.get(url)
        return response.status_code, response.text

    return get


def with_httpx():
    client = library.Client(verify=context)

    def get(url):
        response = client.get(url)
        return response.status_code, response.text

    return get


def with_urllib3():
    pool = library.PoolManager()

    def get(url):
        response = pool.request("GET", url)
        return response.status, response.data.decode()

    return get


def lane_in_a_thread(lane, get):
    for request in range(int(requests_each)):
        pause = pause_before(lane, request)
        due = time.monotonic() + pause
        time.sleep(pause)
        note_start(due)
        try:
            count(*get(urls[lane % len(urls)]))
        except Exception as error:
            count(None, f"{type(error).__name__}: {error}")


def run_threads(client):
    each = [threading.Thread(target=lane_in_a_thread, args=(lane, client())) for lane in range(int(lanes))]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()


async def lane_in_a_task(lane):
    async with library.ClientSession() as session:
        for request in range(int(requests_each)):
            pause = pause_before(lane, request)
            due = time.monotonic() + pause
            await asyncio.sleep(pause)
            note_start(due)
            try:
                async with session.get(urls[lane % len(urls)]) as response:
                    count(response.status, await response.text())
            except Exception as error:
                count(None, f"{type(error).__name__}: {error}")


async def run_tasks():
    await asyncio.gather(*(lane_in_a_task(lane) for lane in range(int(lanes))))


if name == "aiohttp":
    asyncio.run(run_tasks())
else:
    run_threads({"requests": with_requests, "httpx": with_httpx, "urllib3": with_urllib3}[name])

print(f"version={library.__version__}, Python {sys.version.split()[0]}")
for text, number in errors.items():
    print(f"error={number} {text}")
print(f"late={int(late_secs * 1000)}")
print(f"answered={answered} lost={errors.total()}")
