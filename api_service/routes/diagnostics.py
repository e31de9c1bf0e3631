"""What is well and what is not, for `taskmill doctor`."""

from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api_service.dependencies import ServicesDep
from api_service.diagnosing.diagnose import diagnose, gather_facts
from api_service.diagnosing.finding import worst_of

router: Final = APIRouter(tags=["health"])


class FindingView(BaseModel):
    """One thing that was looked at."""

    check: str
    level: Literal["ok", "warn", "bad"]
    text: str
    remedy: str | None = Field(description="What to do about it")


class DiagnosisView(BaseModel):
    """What was found."""

    status: Literal["ok", "warn", "bad"] = Field(description="The worst level of the findings")
    findings: list[FindingView]
    facts: dict[str, Any] = Field(description="What the findings are drawn from; may change with any version")


@router.get("/diagnostics")
async def diagnostics(services: ServicesDep) -> DiagnosisView:
    """Look at servers, queues and workers, each finding with its remedy. It takes a few seconds at the worst."""
    facts = await gather_facts(services)
    findings = list(diagnose(facts))
    return DiagnosisView(
        status=worst_of(findings),
        findings=[FindingView.model_validate(finding, from_attributes=True) for finding in findings],
        facts=facts.document(),
    )
