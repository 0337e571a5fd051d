"""The graph of a recipe: which stages run as one pass, what is stored, and each stage's id before anything has run."""

from dataclasses import dataclass

from pipeline.recipe import Recipe
from stages.base import Stage, UserError
from stages.passes import Step


@dataclass(frozen=True)
class Node:
    """A stage in its place in the graph."""

    step: Step
    upstreams: tuple[str, ...]

    @property
    def stage(self) -> Stage:
        return self.step.stage

    @property
    def name(self) -> str:
        return self.step.stage.name

    @property
    def docs(self) -> bool:
        """Whether the stage gives documents: an entry or a map stage."""
        return bool(self.stage.entry) or self.stage.is_map


@dataclass(frozen=True)
class Graph:
    """All nodes, upstream before downstream."""

    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node:
        """The node with this name."""
        return next(node for node in self.nodes if node.name == name)

    def with_node(self, new: Node) -> "Graph":
        """The graph with one more node, behind those above it."""
        at = max(i for i, node in enumerate(self.nodes) if node.name in new.upstreams) + 1
        return Graph((*self.nodes[:at], new, *self.nodes[at:]))

    def targets(self) -> list[Node]:
        """The stages that commit, in the order in which they run."""
        return [node for node in self.nodes if node.step.stored]

    def chains(self, target: Node) -> list[tuple[Node, ...]]:
        """The passes that end in a target: each a chain from an entry, or from a stage whose upstream is stored."""
        if not target.docs or target.stage.entry:
            return [(target,)]
        chains: list[tuple[Node, ...]] = []
        above = [self.node(name) for name in target.upstreams]
        if any(node.step.stored for node in above):
            chains.append((target,))
        for node in above:
            if node.docs and not node.step.stored:
                chains += [(*chain, target) for chain in self.chains(node)]
        return chains


def graph(recipe: Recipe) -> Graph:
    """Resolve a recipe's graph; UserError where documents must be stored but the recipe forbids it."""
    by_name = {stage.name: stage for stage in recipe.stages}
    ids: dict[str, str] = {}
    nodes = []
    for stage in recipe.stages:
        ids[stage.name] = stage.stage_id([ids[name] for name in stage.after])
        must = reason_to_store(stage, recipe.stages, by_name)
        wish = getattr(stage, "store", None)
        if must and wish is False:
            raise UserError(f"stage {stage.name}: store = false is not possible, since {must}")
        nodes.append(Node(Step(stage, ids[stage.name], bool(must or wish)), stage.after))
    for stage in recipe.stages:
        for name in stage.after:
            if stage.is_map and not gives_docs(by_name[name]) and not any(gives_docs(by_name[n]) for n in stage.after):
                raise UserError(f"stage {stage.name}: after names {name!r}, which gives no documents")
    check_entries(recipe)
    for stage in recipe.stages:
        check_urls(stage, by_name)
        models = [name for name in stage.after if by_name[name].use == "vocab"]
        if stage.use == "tokens" and len(models) != 1:
            raise UserError(f"stage {stage.name}: it needs one `vocab` in `after`, not {len(models)}")
    return Graph(tuple(nodes))


def check_urls(stage: Stage, by_name: dict[str, Stage]) -> None:
    """UserError where documents that go by their URL and documents that go by their text would go at once: one that
    stays for the other's sake might go too."""
    removers = [by_name[name] for name in stage.after if by_name[name].use in ("exact", "cluster")]
    urls = [other.name for other in removers if getattr(other, "by", "") == "url"]
    if urls and len(removers) > 1:
        raise UserError(
            f"stage {stage.name}: let one `apply` follow {urls[0]} alone, and sign what it leaves; what a URL removes "
            "may be what stays in the place of another text"
        )


def check_entries(recipe: Recipe) -> None:
    """UserError unless the documents of every source enter at exactly one stage: none would be lost, two would double
    them."""
    for source in recipe.sources:
        entry = "extract" if source.kind == "warc" else "read"
        found = [stage.name for stage in recipe.stages if stage.use == entry]
        if len(found) != 1:
            needs = f"{source.kind} needs one stage with use = {entry!r}, not {len(found)}"
            raise UserError(f"source {source.name}: {needs}")


def reason_to_store(stage: Stage, stages: tuple[Stage, ...], by_name: dict[str, Stage]) -> str:
    """Why a stage's output must be written, or "" where batches can flow on in memory."""
    if not gives_docs(stage):
        return "it writes side tables"
    consumers = [s for s in stages if stage.name in s.after]
    if len(consumers) != 1:
        return f"{len(consumers)} stages take its documents"
    consumer = consumers[0]
    if not consumer.is_map:
        return f"{consumer.name} reads files"
    if any(not gives_docs(by_name[name]) for name in consumer.after):
        return f"{consumer.name} also needs other stages"
    return ""


def gives_docs(stage: Stage) -> bool:
    """Whether a stage's output is documents."""
    return bool(stage.entry) or stage.is_map
