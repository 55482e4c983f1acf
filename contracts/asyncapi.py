"""The AsyncAPI 3.0 document: which topics there are, what is on them, with which keys and headers."""

from typing import Any, Final

from contracts.dead_letter import HEADERS, OPTIONAL_HEADERS, REASONS, DeadLetterReason, dead_letter_topic
from contracts.envelope import STRUCTURED_CONTENT_TYPE, Envelope
from contracts.inbound import INBOUND, INBOUND_TOPIC
from contracts.outbound import CREDENTIALS_TOPIC, FAILURES_TOPIC, OUTBOUND, RESULTS_TOPIC

VERSION: Final = "1.2.0"
"""Version of the document: the last number grows with words, the middle one with events and fields."""

Document = dict[str, Any]

_BINDING: Final = "0.5.0"
_IN_TOPICS: Final = tuple(INBOUND_TOPIC.values())
_DESCRIPTIONS: Final = {
    "hr.events": "What HR systems say about agents. Shared with others: types that are not named here are ignored.",
    "crm.events": "What CRM systems say about numbers. Shared with others: types that are not named here are ignored.",
    RESULTS_TOPIC: "How work ended, or what it waits for, where nobody's help is needed.",
    FAILURES_TOPIC: "What failed, is in doubt, or is stopped, and that it works again.",
    CREDENTIALS_TOPIC: "SIP passwords, each sealed to the configured public key; only where an account's settings ask "
    "for them. Compacted by subject, and kept for days.",
}
_KEYS: Final = {
    "hr.events": "The agent: events about one agent share a partition.",
    "crm.events": "The number, or access code: events about one number share a partition.",
    RESULTS_TOPIC: "The key of the causing event; of an account's event, the account.",
    FAILURES_TOPIC: "The key of the causing event; of an account's event, the account.",
    CREDENTIALS_TOPIC: "The agent, as Cordboard names it: agent:<realm>/<agent id>; the newest record counts.",
}


def asyncapi_document() -> Document:
    """Return the document as plain values, in the order it is to be written."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cordboard",
            "version": VERSION,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": STRUCTURED_CONTENT_TYPE,
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _header_schemas()},
    }


_INTRODUCTION: Final = (
    "Events that Cordboard reads from Kafka and publishes to it, as CloudEvents 1.0 in JSON. Structured and Kafka "
    "binary mode are read; structured mode is written, with the attributes repeated as `ce_` headers so that readers "
    "can filter without parsing. A field that is absent means: leave as it is. A field that is null means: clear. "
    "Events are published at least once, with the same id every time; of the events of one plan or command, those of "
    "the highest epoch count. Readers allow fields they don't know."
)


# --- channels and operations ------------------------------------------------------------------------------------------


def _channels() -> Document:
    topics = {topic: [name for name in INBOUND if _inbound_topic(name) == topic] for topic in _IN_TOPICS}
    for name, known in OUTBOUND.items():
        topics.setdefault(known.topic, []).append(name)
    channels = {topic: _channel(topic, names, _DESCRIPTIONS[topic]) for topic, names in topics.items()}
    dead = {topic: f"Records of {topic} that could not become an event, byte for byte." for topic in _IN_TOPICS}
    return channels | {
        dead_letter_topic(topic): _channel(dead_letter_topic(topic), ["dead_letter"], text)
        for topic, text in dead.items()
    }


def _inbound_topic(event_type: str) -> str:
    return INBOUND_TOPIC[event_type.partition(".")[0]]


def _channel(topic: str, messages: list[str], description: str) -> Document:
    return {
        "address": topic,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": _BINDING}},
    }


def _operations() -> Document:
    received = {f"receive_{topic}": _operation("receive", topic, f"Cordboard reads {topic}.") for topic in _IN_TOPICS}
    sent = {
        f"send_{topic}": _operation("send", topic, f"Cordboard publishes to {topic}.")
        for topic in (RESULTS_TOPIC, FAILURES_TOPIC, CREDENTIALS_TOPIC, *map(dead_letter_topic, _IN_TOPICS))
    }
    return received | sent


def _operation(action: str, topic: str, summary: str) -> Document:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic}"}, "summary": summary}


# --- messages ---------------------------------------------------------------------------------------------------------


def _messages() -> Document:
    models = {name: (model, _inbound_topic(name)) for name, model in INBOUND.items()}
    inbound = {name: _message(name, model, _KEYS[topic], read=True) for name, (model, topic) in models.items()}
    outbound = {name: _message(name, known.model, _KEYS[known.topic], read=False) for name, known in OUTBOUND.items()}
    return inbound | outbound | {"dead_letter": _dead_letter()}


def _message(event_type: str, model: type, key: str, *, read: bool) -> Document:
    return {
        "name": event_type,
        "title": model.__name__,
        "summary": " ".join((model.__doc__ or "").partition("\n\n")[0].split()),
        "contentType": STRUCTURED_CONTENT_TYPE,
        "headers": {"$ref": f"#/components/schemas/{'headers_read' if read else 'headers_written'}"},
        "payload": {"$ref": f"./schemas/{event_type}.json"},
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": _BINDING}},
    }


def _dead_letter() -> Document:
    key = {"type": "string", "description": "The key of the original record, byte for byte; absent if it had none."}
    return {
        "name": "dead_letter",
        "title": "DeadLetter",
        "summary": "A record that could not become an event: its own bytes and headers, with the reason added.",
        "contentType": "application/octet-stream",
        "headers": {"$ref": "#/components/schemas/headers_dead_letter"},
        "payload": {"description": "The value of the original record, byte for byte, whatever it is."},
        "bindings": {"kafka": {"key": key, "bindingVersion": _BINDING}},
    }


# --- headers ----------------------------------------------------------------------------------------------------------


def _header_schemas() -> Document:
    return {
        "headers_read": _headers_read(),
        "headers_written": _headers_written(),
        "headers_dead_letter": _headers_dead_letter(),
    }


def _headers_read() -> Document:
    content_type = {
        "type": "string",
        "description": "application/cloudevents+json: structured mode, whatever else is there. Absent, or JSON, with "
        "`ce_` headers: binary mode. Absent, without `ce_` headers: structured, if the value has a specversion.",
    }
    described = {f"ce_{name}": f"{_attribute(name)} Binary mode." for name in Envelope.model_fields}
    described["traceparent"] = "W3C trace context; read where the event has none."
    return {"type": "object", "properties": {"content-type": content_type} | _texts(described)}


def _headers_written() -> Document:
    written = ("specversion", "id", "source", "type", "subject", "time", "correlationid", "causationid", "traceparent")
    optional = {"causationid", "traceparent"}
    return {
        "type": "object",
        "properties": {"content-type": {"type": "string", "const": STRUCTURED_CONTENT_TYPE}}
        | _texts({f"ce_{name}": _attribute(name) for name in written})
        | _texts({"traceparent": "W3C trace context, as the attribute."}),
        "required": ["content-type", *(f"ce_{name}" for name in written if name not in optional)],
    }


def _headers_dead_letter() -> Document:
    reasons = " ".join(f"`{reason}`: {meaning}" for reason, meaning in REASONS.items())
    properties = _texts(dict(HEADERS))
    properties["cordboard_class"] = {
        "type": "string",
        "description": f"{HEADERS['cordboard_class']} {reasons}",
        "enum": [reason.value for reason in DeadLetterReason],
    }
    required = [name for name in HEADERS if name not in OPTIONAL_HEADERS]
    return {"type": "object", "properties": properties, "required": required}


def _texts(described: dict[str, str]) -> Document:
    return {name: {"type": "string", "description": text} for name, text in described.items()}


def _attribute(name: str) -> str:
    return Envelope.model_fields[name].description or ""
