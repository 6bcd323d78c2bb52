"""The writer of flows until their states began with a version: an upgrade still reads its rows."""

from dataclasses import asdict


def former_state(flow):
    """Return the members as JSON values, which were sealed without a version."""
    terms = flow.terms
    return {
        "kind": terms.kind.value,
        "client": str(terms.client),
        "subject": str(terms.subject),
        "known": terms.known,
        "bucket": terms.bucket,
        "lane": terms.lane,
        "segment": terms.segment,
        "requested": int(terms.requested),
        "max_age": terms.max_age,
        "act": terms.act,
        "session": str(terms.session) if terms.session else None,
        "token": str(terms.token) if terms.token else None,
        "device": [str(terms.device[0]), terms.device[1]] if terms.device else None,
        "surroundings": asdict(terms.client_context),
        "deferred": terms.deferred,
        "segments": list(terms.segments),
        "began_at": flow.began_at.isoformat(),
        "active_at": flow.active_at.isoformat(),
        "status": flow.status.value,
        "attempts_left": flow.attempts_left,
        "evidence": [item.to_json() for item in flow.evidence],
        "layers": [list(layer) for layer in flow.layers],
        "required": int(flow.required),
        "band": int(flow.band),
        "reasons": [
            [item.code, item.signal, item.contribution, item.detail] for item in flow.reasons
        ],
        "samples": dict(flow.samples),
        "readings": {name: dict(value) for name, value in flow.readings.items()},
        "tried": [list(item) for item in flow.tried],
        "matches": [dict(item) for item in flow.matches],
        "told": flow.disclosed,
        "not_before": flow.not_before.isoformat() if flow.not_before else None,
        "delayed": flow.delayed,
        "policy": flow.policy,
        "held": flow.held,
        "challenges": {name: dict(value) for name, value in flow.challenges.items()},
    }
