"""Files go in, come out in whole and in part, and reach tasks."""

from typing import Final
from uuid import uuid4

from client.site import Site, json_of, problem_of, require

#: A picture of one pixel, so that a real handler can work on it.
_PICTURE: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63600000000200"
    "0148afa4710000000049454e44ae426082"
)


def file_comes_back(site: Site) -> str:
    """What is uploaded is downloaded the same, and in parts."""
    content = bytes(range(256)) * 300
    sent = json_of(
        site.request(
            "POST",
            "/artifacts",
            expect=201,
            content=content,
            headers={"Content-Type": "text/plain", "Content-Disposition": 'attachment; filename="verify.txt"'},
        )
    )
    require(sent["size"] == len(content), f"the size is {sent['size']} instead of {len(content)}")
    whole = site.request("GET", sent["href"], expect=200)
    require(whole.content == content, "the file is not what was sent")
    part = site.request("GET", sent["href"], expect=206, headers={"Range": "bytes=-10"})
    require(part.content == content[-10:], "the last ten bytes are others")
    problem_of(site.ask("GET", f"/artifacts/{uuid4()}"), status=404)
    problem_of(site.ask("GET", f"/tasks/{uuid4()}/artifacts/..%2Fverify.txt"), status=404)
    return f"{len(content)} bytes"


def thumbnail_is_made(site: Site) -> str:
    """A task takes an upload and makes a file of it; API and workers see the same artifact store."""
    sent = json_of(site.request("POST", "/artifacts", expect=201, content=_PICTURE))
    task = site.final(
        site.submit("documents.thumbnail", {"source": sent["href"], "format": "png"}), status="succeeded"
    )
    [file] = task["artifacts"]
    picture = site.request("GET", file["href"], expect=200).content
    require(picture.startswith(b"\x89PNG") and len(picture) == file["size"], f"{file} is no PNG of its size")
    return str(file["name"])
