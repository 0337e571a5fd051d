"""What a run says at its end: a few lines of summary, or a table of the tasks that were set aside."""

from manifests.balance import total
from manifests.storage import Storage
from pipeline.driver import Result, RunFailed


def summary(result: Result, storage: Storage) -> str:
    """The end of a complete run."""
    tokens = [row for rows in result.rows.values() for row in rows if row.kind == "tokens"]
    ran = sum(result.ran.values())
    documents = sum(row.rows for row in tokens)
    lines = [
        f"{storage.uri}: complete in {result.seconds:.1f} s, {ran} tasks run"
        if ran
        else f"{storage.uri}: nothing to do, everything was committed ({result.seconds:.1f} s)"
    ]
    duplicates = total(result.rows["fetch"])["duplicate_input"]
    if duplicates:
        lines.append(f"{duplicates} inputs have the content of another input and were not read again (duplicate_input)")
    if any(row.output == "docs" for rows in result.rows.values() for row in rows):
        if documents:
            count = sum(row.tokens or 0 for row in tokens)
            lines.append(f"{documents:,} documents, {count:,} tokens in {len(tokens)} shards")
        elif any(name == "tokens" for name in result.rows):
            lines.append("no document is left after the filters: the run is complete with zero token shards")
    lines += [f"tokens {result.tokens}", f"root {result.root}"]
    return "\n".join(lines)


def failures(error: RunFailed) -> str:
    """One block per kind of error, most frequent first, with an example of its trace."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for failure in error.failures:
        name = failure.task.file.uri if failure.task.file else failure.task.key
        kinds.setdefault((failure.error, failure.message), []).append(f"{name} (tried {failure.attempts}x)")
    lines = [f"error: {error}"]
    for (kind, message), tasks in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"  {len(tasks)} x {kind}: {message}")
        lines += [f"      {task}" for task in tasks[:5]]
        if len(tasks) > 5:
            lines.append(f"      and {len(tasks) - 5} more")
    fatal = error.failures[0].fatal
    if not fatal and error.failures[0].trace:
        lines += ["", error.failures[0].trace.rstrip()]
    lines.append("what was done is kept; mend the cause and run the same command again")
    return "\n".join(lines)
