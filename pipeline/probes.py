"""The stages of a recipe in, the same stages out: each `probe` with the fields of what it probes, each `shingles` with
those of the `sign` whose candidates it serves, so that both shingle a text in the same way."""

from collections.abc import Sequence
from dataclasses import replace

from stages.base import Stage, UserError


def with_probes(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Each probe gets the `verify` of its `after`, and the `match` and the `sign` above that one."""
    if not any(stage.use in ("probe", "shingles") for stage in stages):
        return tuple(stages)
    return tuple(fitted(stage, {other.name: other for other in stages}) for stage in stages)


def fitted(stage: Stage, by_name: dict[str, Stage]) -> Stage:
    """The stage itself, unless it is a probe or `shingles`."""
    from stages.match import Match
    from stages.probe import Probe
    from stages.shingles import Shingles
    from stages.sign import Sign
    from stages.verify import Verify

    if isinstance(stage, Shingles):
        matches = [found for name in stage.after if isinstance(found := by_name[name], Match)]
        signs = [found for match in matches for name in match.after if isinstance(found := by_name[name], Sign)]
        if len(signs) != 1:
            raise UserError(f"stage {stage.name}: `after` must name one `match`, and that one `sign`")
        return replace(stage, sign=signs[0])
    if not isinstance(stage, Probe):
        return stage
    verifies = [by_name[name] for name in stage.after if isinstance(by_name[name], Verify)]
    above = [by_name[name] for name in ancestors(verifies[0], by_name)] if len(verifies) == 1 else []
    matches, signs = [s for s in above if isinstance(s, Match)], [s for s in above if isinstance(s, Sign)]
    verify = verifies[0] if verifies else None
    if not isinstance(verify, Verify) or len(matches) != 1 or len(signs) != 1 or len(stage.after) < 2:
        raise UserError(
            f"stage {stage.name}: `after` must name the stage whose documents are signed, and one `verify` that "
            "follows from one `match` and one `sign`"
        )
    return replace(stage, sign=signs[0], match=matches[0], verify=verify)


def ancestors(stage: Stage, by_name: dict[str, Stage]) -> list[str]:
    """Names of all stages above one, each once."""
    found: dict[str, None] = {}
    todo = [*stage.after]
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = None
            todo += by_name[name].after
    return list(found)
