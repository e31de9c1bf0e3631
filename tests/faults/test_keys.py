"""Keys while processes are killed and PostgreSQL is away."""

import asyncio

import httpx

from tests.faults.stack import Stack

OPS = "ops-key-0123456789"
GIVEN = f"ops:{OPS}"
#: Seconds until PostgreSQL's return must have been noticed.
BACK_WITHIN_S = 30.0


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def make_key(stack: Stack, name: str) -> str:
    answer = await stack.client.post(f"{stack.url}/keys", json={"name": name}, headers=bearing(OPS))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


async def status_of(stack: Stack, url: str, path: str, key: str | None = None) -> int:
    answer: httpx.Response = await stack.client.get(f"{url}{path}", headers={} if key is None else bearing(key))
    return answer.status_code


async def test_a_key_that_was_given_out_opens_after_the_api_was_killed(stack: Stack) -> None:
    await stack.start(workers=0, API_KEYS=GIVEN)
    [api] = stack.apis

    key = await make_key(stack, "shop")
    api.kill()
    await stack.start_api(API_KEYS=GIVEN)

    assert await status_of(stack, stack.url, "/tasks", key) == 200
    trail = (await stack.client.get(f"{stack.url}/audit", headers=bearing(key))).json()["items"]
    assert [(entry["actor"], entry["action"], entry["target"]) for entry in trail] == [("ops", "key.create", "shop")]


async def test_while_postgresql_is_away_known_keys_open_and_of_others_nobody_can_tell(stack: Stack) -> None:
    await stack.start(apis=2, workers=0, API_KEYS=GIVEN)
    urls = {stack.url, stack.url}
    key = await make_key(stack, "shop")
    revoked = await make_key(stack, "gone")
    for url in urls:
        assert await status_of(stack, url, "/tasks", key) == 200
    await stack.client.delete(f"{stack.url}/keys/gone", headers=bearing(OPS))
    await stack.until(lambda: _all(stack, urls, revoked, 401), BACK_WITHIN_S, "the revocation to spread")

    await asyncio.to_thread(stack.servers.postgres.kill)
    for url in urls:
        assert await status_of(stack, url, "/metrics", key) == 200
        assert await status_of(stack, url, "/metrics", OPS) == 200
        assert await status_of(stack, url, "/metrics", "tm_nobody_knows_this_one") == 503
        assert await status_of(stack, url, "/metrics") == 401
        assert await status_of(stack, url, "/health") == 200
        assert await status_of(stack, url, "/tasks", key) == 503
    await asyncio.to_thread(stack.servers.postgres.start)

    await stack.until(lambda: _all(stack, urls, key, 200), BACK_WITHIN_S, "the key to open again")
    for url in urls:
        assert await status_of(stack, url, "/tasks", "tm_nobody_knows_this_one") == 401
        assert await status_of(stack, url, "/tasks", revoked) == 401


async def _all(stack: Stack, urls: set[str], key: str, status: int) -> bool:
    return {await status_of(stack, url, "/tasks", key) for url in urls} == {status}
