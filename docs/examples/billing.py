"""An example of a task: make an invoice. Try it: `TASK_MODULES=docs.examples.billing make run`."""

from pydantic import BaseModel, Field

from worker_service import Permanent, TaskContext, task


class Order(BaseModel):
    """What is to be invoiced."""

    order_id: int = Field(gt=0)


class Invoice(BaseModel):
    """What was made."""

    number: str


@task("billing.invoice", max_attempts=5, timeout=60)
async def invoice(payload: Order, ctx: TaskContext) -> Invoice:
    """Make the invoice of one order."""
    if payload.order_id > 1_000_000:
        raise Permanent(f"there is no order {payload.order_id}")
    await ctx.progress(1, 2, "order read")
    ctx.log.info("invoice_made", order_id=payload.order_id)
    await ctx.progress(2, 2, "invoice made")
    return Invoice(number=f"INV-{payload.order_id:07}")
