"""A report, as an application would ask for one."""

from typing import Final

from client.site import Site, json_of, require

_ROWS: Final = [{"region": "north", "units": 12}, {"region": "south", "units": 7}]
#: How every Excel file begins: it is a ZIP archive.
_EXCEL: Final = b"PK\x03\x04"


def report_is_made(site: Site) -> str:
    """An Excel file is made of two rows, and can be downloaded."""
    body = {"format": "excel", "title": f"Check {site.tag}", "rows": _ROWS}
    job = json_of(site.request("POST", "/reports/heavy", expect=202, json=body))
    site.final(job["job_id"], status="succeeded")
    [file] = site.get(job["status_url"])["artifacts"]
    content = site.request("GET", file["href"], expect=200).content
    require(content.startswith(_EXCEL), f"{file['name']} is no Excel file")
    require(len(content) == file["size"], f"{file['name']} has {len(content)} bytes instead of {file['size']}")
    return f"{file['name']}, {len(content):,} bytes"
