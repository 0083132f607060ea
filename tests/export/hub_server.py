"""A stand-in for the hub's HTTP interface: repositories in memory, as much of it as the client asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Repository:
    private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})

    def at(self, revision: str) -> tuple[str, dict[str, bytes]]:
        """Return the commit and the files of a branch, or of a commit."""
        for files in self.branches.values():
            if commit_of(files) == revision:
                return revision, files
        files = self.branches[revision]
        return commit_of(files), files


def commit_of(files: dict[str, bytes]) -> str:
    digest = hashlib.sha1()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    return digest.hexdigest()


class Hub(ThreadingHTTPServer):
    """The server; `repositories` are what was pushed, `fetched` the files that were asked for."""

    daemon_threads = True

    def __init__(self, token: str = "secret") -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.token = token
        self.repositories: dict[str, Repository] = {}
        self.fetched: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *given: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            return self._json({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            known = name in self.server.repositories
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.server.repositories.setdefault(name, Repository(private))
            return self._json({"url": f"{self.server.address}/{name}"}, 409 if known else 200)
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(branch|preupload|commit)/([^/?]+).*", self.path)
        if self.path.startswith("/api/validate-yaml"):
            return self._json({"errors": [], "warnings": []})
        if not found:
            return self._json({"error": "not here"}, 404)
        repository = self.server.repositories[found[1]]
        if found[2] == "branch":
            known = found[3] in repository.branches
            repository.branches.setdefault(found[3], dict(repository.branches["main"]))
            return self._json({}, 409 if known else 200)
        if found[2] == "preupload":
            files = json.loads(body)["files"]
            modes = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                     for each in files]
            return self._json({"files": modes})
        for line in body.splitlines():
            each = json.loads(line)
            if each["key"] == "file":
                value = each["value"]
                repository.branches[found[3]][value["path"]] = base64.b64decode(value["content"])
        commit = commit_of(repository.branches[found[3]])
        return self._json({"success": True, "commitOid": commit, "commitUrl":
                           f"{self.server.address}/{found[1]}/commit/{commit}"})

    def do_GET(self) -> None:
        pattern = r"/api/models/([^/]+/[^/?]+?)(?:/(revision|tree)/([^/?]+))?(?:\?.*)?"
        found = re.fullmatch(pattern, self.path)
        if found:
            repository = self._readable(found[1])
            if repository is None:
                return None
            try:
                commit, files = repository.at(found[3] or "main")
            except KeyError:
                return self._json({"error": "none"}, 404, {"X-Error-Code": "RevisionNotFound"})
            if found[2] == "tree":
                return self._json([{"type": "file", "path": name, "size": len(content),
                                    "oid": hashlib.sha1(content).hexdigest()}
                                   for name, content in files.items()])
            return self._json({"id": found[1], "modelId": found[1], "sha": commit,
                               "private": repository.private, "tags": [],
                               "siblings": [{"rfilename": name} for name in files]})
        return self._file(send=True)

    def do_HEAD(self) -> None:
        self._file(send=False)

    def _file(self, send: bool) -> None:
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        repository = self._readable(found[1]) if found else None
        if not found or repository is None:
            return None if found else self._json({"error": "not here"}, 404)
        commit, files = repository.at(found[2])
        if found[3] not in files:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        content = files[found[3]]
        self.send_response(200)
        for name, value in {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                            "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            self.server.fetched.append(found[3])
            self.wfile.write(content)
        return None

    def _readable(self, name: str) -> Repository | None:
        repository = self.server.repositories.get(name)
        allowed = self.headers.get("Authorization") == f"Bearer {self.server.token}"
        if repository is None or (repository.private and not allowed):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)),
                           **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
