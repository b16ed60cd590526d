"""What users see of actors: the published rows, and everything that is known."""

from __future__ import annotations

import time
from typing import Any

from theater.core.handlers import GRANTED_TO_ALL
from theater.server.cast import Actor, Cast, plain_manifest
from theater.server.dead_letters import DeadLetters
from theater.server.services import Services
from theater.server.stage import Stage
from theater.server.switchboard import Switchboard


class View:
    """Looks at actors; changes nothing."""

    def __init__(
        self, cast: Cast, stage: Stage, switchboard: Switchboard, services: Services, dead_letters: DeadLetters
    ) -> None:
        self._cast = cast
        self._stage = stage
        self._switchboard = switchboard
        self._services = services
        self._dead_letters = dead_letters

    def row(self, actor: Actor) -> dict[str, Any]:
        """The published fields of an actor (DESIGN 7)."""
        self._stage.current_mark(actor)
        return {
            "id": actor.id,
            "name": actor.manifest.name,
            "state": actor.state.value,
            "incarnation": actor.incarnation,
            "restarts": actor.restarts,
            "pid": actor.worker.pid if actor.worker is not None else None,
            "parent": actor.parent,
            "supervisor": actor.supervisor,
            "mailbox": self._switchboard.waiting_for(actor),
            "head": actor.head.digest.hex() if actor.head is not None else None,
            "entries": actor.head.entries if actor.head is not None else 0,
            "last_exit": actor.last_exit.to_dict() if actor.last_exit is not None else None,
        }

    def inspection(self, actor: Actor) -> dict[str, Any]:
        """All that is known of an actor."""
        worker = actor.worker
        gauges = worker.pulse.read_gauges() if worker is not None and worker.pulse is not None else (0, 0, 0)
        since = worker.pulse.call_since() if worker is not None and worker.pulse is not None else None
        supervision = actor.manifest.supervision
        meta = actor.artefact.meta if actor.artefact is not None else None
        return {
            **self.row(actor),
            "children": [child.id for child in self._cast.children(actor)],
            "registered": self._switchboard.directory.names(actor.id),
            "handlers": sorted(actor.manifest.handler_types | GRANTED_TO_ALL),
            "manifest": plain_manifest(actor.manifest),
            "limits": {name: limit for name, limit in plain_manifest(actor.manifest)["limits"].items() if limit},
            "manifest_file": actor.where,
            "component_digest": actor.component,
            "program_digest": actor.program,
            "mode": meta.mode.value if meta is not None else None,
            "mode_reason": meta.reason if meta is not None else None,
            "memory": gauges[1],
            "state_size": gauges[2],
            "started_ms": actor.started_ms,
            "call": {"for_ms": (time.monotonic_ns() - since) // 1_000_000} if since is not None else None,
            "supervision": {
                "restart": supervision.restart.value,
                "shutdown": supervision.shutdown,
                "state": supervision.state.value,
                "intensity": supervision.intensity,
                "period": supervision.period,
                "watchdog": supervision.watchdog,
                "mail": supervision.mail.value,
            },
            "control_group": str(worker.group.folder) if worker is not None and worker.group is not None else None,
            "last_usage": actor.last_usage,
            "services": self._services.facts(actor),
            "dead_letters": self._dead_letters.count_for(actor.id),
        }
