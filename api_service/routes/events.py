"""Live news: one task's over server-sent events or a WebSocket, and everybody's."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator

from api_service.dependencies import TaskId, api_of, task_id_of
from api_service.live.bookmark import Bookmark
from api_service.live.event_source import PING_S, RESPONSES, EventStream
from api_service.live.task_stream import TaskStream
from api_service.live.web_socket import send_batches
from api_service.live.wide_stream import WideStream
from api_service.paging import QueueName, Word
from api_service.problems import problem_of
from shared.errors import TaskmillError

router: Final = APIRouter(tags=["live"])

_RESUME: Final = "The `id` of the last message that was heard: what came after it is sent first"


async def _bookmark(
    last_event_id: Annotated[str | None, Header(description=_RESUME)] = None,
    from_query: Annotated[
        str | None, Query(alias="last_event_id", description="The same where headers can't be set; the header wins")
    ] = None,
) -> Bookmark | None:
    # What is no id of ours, or no longer, begins anew: a browser that is refused would never come back.
    return Bookmark.find(last_event_id or from_query or "")


HeardUntil = Annotated[Bookmark | None, Depends(_bookmark)]
_EmptyIsNone: Final = BeforeValidator(lambda text: text or None)


@router.get(
    "/tasks/{task_id}/events",
    response_class=StreamingResponse,
    responses={**RESPONSES, 204: {"description": "All was heard: the task is done, and there is nothing to come"}},
)
async def task_events(request: Request, task_id: TaskId, bookmark: HeardUntil) -> Response:
    """A task's news as server-sent events, until its status is final.

    `snapshot` comes first: the document of `GET /tasks/{task_id}`. Then `status`, `progress` and `log` as they come;
    the last `status` holds the whole document. With `Last-Event-ID` there is what was missed instead of a snapshot,
    unless that is no longer known. `WS /tasks/{task_id}/ws` tells the same, each message as a JSON text.
    """
    stream = TaskStream(api_of(request).news, task_id, bookmark, idle_s=PING_S)
    batches = stream.batches()
    first = await anext(batches, None)
    return Response(status_code=204) if first is None else EventStream(first, batches)


@router.get("/events", response_class=StreamingResponse, responses=RESPONSES)
async def all_events(
    request: Request,
    bookmark: HeardUntil,
    queue: Annotated[QueueName | None, _EmptyIsNone, Query(description="Only of this queue")] = None,
    type: Annotated[Word | None, _EmptyIsNone, Query(description="Only of this type of task")] = None,
) -> Response:
    """The news of all tasks as server-sent events, without an end.

    There is no snapshot, and no final status holds its document. With `Last-Event-ID` there is first what was missed;
    `gap` comes before it where that is no longer known in full.
    """
    batches = WideStream(api_of(request).news, queue=queue, type_=type, bookmark=bookmark, idle_s=PING_S).batches()
    return EventStream(await anext(batches), batches)


@router.websocket("/tasks/{task_id}/ws")
async def task_socket(socket: WebSocket, task_id: str, bookmark: HeardUntil) -> None:
    """The same as `task_events`: each message is a JSON object with `event`, `id` and `data`.

    Closes with 1000 after the final status, and with 1012 where the client is to come back and resume.
    """
    try:
        stream = TaskStream(api_of(socket).news, await task_id_of(task_id), bookmark, idle_s=PING_S)
        batches = stream.batches()
        first = await anext(batches, None)
    except TaskmillError as error:
        await socket.send_denial_response(problem_of(error))
        return
    await socket.accept()
    await send_batches(socket, first or [], batches, is_done=lambda: stream.has_ended)
