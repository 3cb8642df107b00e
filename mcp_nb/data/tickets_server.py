"""A small issue tracker served over MCP (stdio).

The tickets live in one JSON file, named by the environment variable TICKETS_FILE
(default: tickets.json in the current folder). The file is a list of objects

    {"id":1,"title":"...","priority":"low|medium|high","assignee":null or "name",
     "status":"open|closed","comments":["..."]}         (+ "reason" when closed with one)

written compactly (no blanks after , and :) and replaced atomically.
Nothing is written until a ticket is created or changed.
"""
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

mcp = MCPServer("tickets", instructions="The team's issue tracker: create, close, comment on and list tickets.", log_level="WARNING")
_lock = threading.Lock()


def _path() -> Path:
    return Path(os.environ.get("TICKETS_FILE") or "tickets.json")


def _load() -> list[dict]:
    try:
        text = _path().read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        tickets = json.loads(text) if text.strip() else []
    except ValueError as e:
        raise ToolError(f"{_path().name} is not valid JSON: {e}") from None
    if not isinstance(tickets, list) or not all(isinstance(t, dict) and "id" in t for t in tickets):
        raise ToolError(f"{_path().name} is not a list of tickets")
    return tickets


def _save(tickets: list[dict]) -> None:
    path = _path()
    fd, tmp = tempfile.mkstemp(prefix=".tickets-", dir=path.resolve().parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            f.write(json.dumps(tickets, ensure_ascii=False, separators=(",", ":")) + "\n")
        os.chmod(tmp, 0o644)
        os.replace(tmp, path)
    except BaseException:
        Path(tmp).unlink(missing_ok=True)
        raise


def _find(tickets: list[dict], ticket_id: int) -> dict:
    for t in tickets:
        if t["id"] == ticket_id:
            return t
    raise ToolError(f"No ticket with id {ticket_id}")


def _line(t: dict) -> str:
    who = f", assigned to {t['assignee']}" if t.get("assignee") else ""
    why = f", reason: {t['reason']}" if t.get("reason") else ""
    head = f"#{t['id']} [{t.get('status', 'open')}] {t.get('title', '')} (priority {t.get('priority', 'medium')}{who}{why})"
    return "\n".join([head] + [f"    comment: {c}" for c in t.get("comments", [])])


@mcp.tool()
def create_ticket(title: str, priority: Literal["low", "medium", "high"] = "medium", assignee: str | None = None) -> str:
    """Create a new open ticket in the issue tracker.

    Args:
        title: Short title of the ticket.
        priority: How urgent it is: low, medium or high.
        assignee: Name of the person to assign it to, if any.
    """
    title = title.strip()
    if not title:
        raise ToolError("The title must not be empty")
    with _lock:
        tickets = _load()
        ticket = {
            "id": max((t["id"] for t in tickets), default=0) + 1,
            "title": title,
            "priority": priority,
            "assignee": (assignee or "").strip() or None,
            "status": "open",
            "comments": [],
        }
        _save(tickets + [ticket])
    return f"Created ticket {_line(ticket)}"


@mcp.tool()
def close_ticket(ticket_id: int, reason: str | None = None) -> str:
    """Close an open ticket.

    Args:
        ticket_id: Number of the ticket to close.
        reason: Why it is closed, if there is anything to say.
    """
    with _lock:
        tickets = _load()
        ticket = _find(tickets, ticket_id)
        if ticket.get("status") == "closed":
            raise ToolError(f"Ticket {ticket_id} is already closed")
        ticket["status"] = "closed"
        if reason and reason.strip():
            ticket["reason"] = reason.strip()
        _save(tickets)
    return f"Closed ticket {_line(ticket)}"


@mcp.tool()
def add_comment(ticket_id: int, text: str) -> str:
    """Add a comment to a ticket.

    Args:
        ticket_id: Number of the ticket to comment on.
        text: The comment.
    """
    text = text.strip()
    if not text:
        raise ToolError("The comment must not be empty")
    with _lock:
        tickets = _load()
        ticket = _find(tickets, ticket_id)
        ticket.setdefault("comments", []).append(text)
        _save(tickets)
    return f"Added a comment to ticket {_line(ticket)}"


@mcp.tool()
def list_tickets(status: Literal["open", "closed", "all"] = "open") -> str:
    """List the tickets in the issue tracker, with their numbers, titles and comments.

    Args:
        status: Which tickets to list: open, closed or all.
    """
    tickets = [t for t in _load() if status == "all" or t.get("status", "open") == status]
    if not tickets:
        return "No tickets" if status == "all" else f"No {status} tickets"
    return "\n".join(_line(t) for t in tickets)


if __name__ == "__main__":
    mcp.run()
