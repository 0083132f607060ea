"""The bodies of requests: our own, and those of clients of other servers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator
from pydantic_core import PydanticCustomError

from polytask.core.errors import nearest
from polytask.serve.limits import ServeError

Pair = tuple[str, str]


class AtFirstMistake(FailFast):
    """Stops at the first mistake of a list: describing a million of them would take seconds."""

    __hash__ = object.__hash__  # a union of types needs it


TextList = Annotated[list[str], AtFirstMistake()]
PairList = Annotated[list[Pair], AtFirstMistake()]


class Body(BaseModel):
    """A body whose unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")
    # What clients of another server send that means nothing here.
    meaningless: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def known_keys(cls, body: Any) -> Any:
        """Refuse the first unknown key, and name the one that was probably meant."""
        if not isinstance(body, dict):
            return body
        for key in body:
            if key not in cls.model_fields and key not in cls.meaningless:
                shown = str(key)[:100].encode("utf-8", "replace").decode()  # pydantic's errors are UTF-8
                raise PydanticCustomError("unknown_key", "{sentence}", {
                    "sentence": f'"{shown}" is not a key of this body{nearest(shown, cls.model_fields)} '
                                f"(expected one of {', '.join(cls.model_fields)})"})
        return {key: value for key, value in body.items() if key not in cls.meaningless}


    def without(self, key: str, *others: str) -> None:
        """Refuse a body with `key` that also asks in another way, or for what that way does not give.

        What asks for nothing, as clients of other servers send it (`false`, `null`, `{}`), is none.
        """
        for name in others if getattr(self, key) is not None else ():
            if getattr(self, name) not in (None, False, {}):
                raise ServeError(400, "validation", f'found "{key}" and "{name}", which do not go together')


class LenientBody(BaseModel):
    """A body from a client of another server; settings that mean nothing here are ignored."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class PredictBody(Body):
    """`/predict`: texts or pairs, and the tasks that answer; or `inputs`, as text-embeddings-inference."""

    texts: str | TextList | None = Field(None, description="A text, or several.")
    pairs: Pair | PairList | None = Field(None, description="A pair of texts, or several.")
    tasks: str | TextList | None = Field(
        None, description='The tasks to answer: one, several, or absent (or "all") for all that fit.')
    logits: bool = Field(False, description="Whether answers include the head's raw numbers.")
    model: str | None = Field(None, description="The model, where the server has several.")
    inputs: Any = Field(None, description="A text, a pair [a, b], or a batch [[a], [a, b]]: answered as "
                        "text-embeddings-inference would, by the default task.")
    raw_scores: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["right", "Right"] = "right"
    parameters: dict[str, Any] | None = Field(None, description="Sent by the hub's inference "
                                              "client, which expects a batch of one.")


class EmbedBody(Body):
    """`/embed`: texts; or `inputs`, as text-embeddings-inference."""

    texts: str | TextList | None = None
    normalize: bool | None = Field(None, description="Whether vectors are scaled to length 1.")
    model: str | None = None
    inputs: str | TextList | None = None
    truncate: bool | None = None
    truncation_direction: Literal["right", "Right"] = "right"
    prompt_name: None = None
    dimensions: int | None = None
    parameters: dict[str, Any] | None = None


class OpenAIBody(LenientBody):
    """`/v1/embeddings`."""

    input: str | list[Any]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = None
    user: str | None = None


class SimilarityInputs(LenientBody):
    source_sentence: str
    sentences: TextList


class SimilarityBody(LenientBody):
    """`/similarity`: the cosine of a sentence with others."""

    inputs: SimilarityInputs


class RerankBody(Body):
    """`/rerank`: a query and documents (the answer is Cohere's), or texts (text-embeddings-inference's)."""

    # Cohere's; here a document is cut to the tokens that the model reads.
    meaningless: ClassVar[frozenset[str]] = frozenset({
        "max_tokens_per_doc", "max_chunks_per_doc", "rank_fields", "priority"})

    query: str
    documents: Annotated[list[str | dict[str, Any]], AtFirstMistake()] | None = None
    texts: TextList | None = None
    task: str | None = None
    model: str | None = None
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = False
    return_text: bool = False
    raw_scores: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["right", "Right"] = "right"


class ErrorsBody(Body):
    """`/errors`: a text or a pair, and the tasks whose mistakes are searched."""

    text: str | None = None
    pair: Pair | None = None
    tasks: str | TextList | None = None
    model: str | None = None
    count: int = Field(3, ge=1, le=50)


class AttentionBody(Body):
    """`/attention`: a text or a pair, and the task that reads it; absent: the first that takes it."""

    text: str | None = None
    pair: Pair | None = None
    task: str | None = None
    model: str | None = None


class TaskBody(Body):
    """`/tasks/NAME`: texts or pairs for one task."""

    texts: str | TextList | None = None
    pairs: Pair | PairList | None = None
    logits: bool = False
