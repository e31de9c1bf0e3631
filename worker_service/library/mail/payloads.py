"""What mail tasks take and give. Light: every worker imports it, the libraries come with the first letter."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from shared.domain.mail import parse_mailbox

#: Recipients of one letter, and of a mailing.
_MAX_TO: Final = 100
_MAX_RECIPIENTS: Final = 10_000

#: Looser than what is accepted in the end, so that people can read it in an answer.
_ADDRESS: Final = r"[^\s@<>()\[\]\\,;:\"]+@[^\s@<>()\[\]\\,;:\"]+"
_MAILBOX_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": rf"^({_ADDRESS}|[^\r\n<>]+ <{_ADDRESS}>)$",
    "maxLength": 460,
    "examples": ["Ada Lovelace <ada@example.org>"],
}


def _mailbox(text: str) -> str:
    parse_mailbox(text)
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Line = Annotated[str, Field(max_length=998, pattern=r"^[^\r\n]*$")]
Template = Annotated[str, Field(min_length=1, max_length=500_000)]
MailboxText = Annotated[str, AfterValidator(_mailbox), WithJsonSchema(_MAILBOX_SCHEMA)]
# One schema for both forms: of an `anyOf`, an answer can't say what exactly does not fit.
MailboxTexts = Annotated[
    list[MailboxText],
    Field(min_length=1, max_length=_MAX_TO),
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "type": ["string", "array"],
            "pattern": _MAILBOX_SCHEMA["pattern"],
            "items": _MAILBOX_SCHEMA,
            "minItems": 1,
            "maxItems": _MAX_TO,
            "examples": ["Ada Lovelace <ada@example.org>"],
        }
    ),
]


class Texts(BaseModel):
    """What is said, and by whom. `subject`, `text` and `html` are Jinja2 templates."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        # Either of them; said so that an answer can name the field.
        json_schema_extra={"if": {"not": {"required": ["html"]}}, "then": {"required": ["text"]}},
    )

    subject: Annotated[Line, Field(min_length=1)]
    text: Template | SkipJsonSchema[None] = None
    html: Template | SkipJsonSchema[None] = None
    variables: dict[str, Any] = Field(default_factory=dict, description="What the templates may name")
    sender: MailboxText | SkipJsonSchema[None] = Field(None, alias="from", description="Default: SMTP_FROM")
    reply_to: MailboxText | SkipJsonSchema[None] = None


class Email(Texts):
    """One letter, to everybody who is named."""

    to: MailboxTexts
    cc: MailboxTexts | SkipJsonSchema[None] = None
    bcc: MailboxTexts | SkipJsonSchema[None] = None


class BulkRecipient(BaseModel):
    """Somebody who gets a letter of their own."""

    model_config = ConfigDict(extra="forbid")

    to: MailboxText
    variables: dict[str, Any] = Field(default_factory=dict, description="Win over those of the mailing")


class BulkEmail(Texts):
    """A letter to each recipient, who sees no other."""

    recipients: Annotated[list[BulkRecipient], Field(min_length=1, max_length=_MAX_RECIPIENTS)]
    per_second: float = Field(50, gt=0, le=1000, description="Letters of one second, at most")


class Unsent(BaseModel):
    """Somebody who gets no letter, and why."""

    to: str
    reason: str


class Report(BaseModel):
    """Who was sent a letter, and who gets none. The lists name the first thousand of each."""

    sent_count: int
    failed_count: int
    sent: list[str]
    failed: list[Unsent]
