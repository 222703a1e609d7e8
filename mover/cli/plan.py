"""`capi-mover plan` and `explain`: what a move would do, and why; both only read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mover.cli.app import app
from mover.cli.options import (
    AllHosts,
    AllNamespaces,
    ClusterNames,
    Hosts,
    Kubeconfig,
    KubeconfigContext,
    Namespace,
    Output,
    OutputFormat,
    Selector,
    StrictLabels,
)
from mover.cli.terminal import errors_shown, new_console, print_all, print_json, print_text, run

if TYPE_CHECKING:
    from mover.planning import Plan


class PlanFormat(StrEnum):
    """How a plan is printed."""

    TREE = "tree"
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    MERMAID = "mermaid"
    DOT = "dot"
    HTML = "html"


@app.command("plan")
def plan_command(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    cluster: ClusterNames = None,
    selector: Selector = "",
    hosts: Hosts = "",
    all_hosts: AllHosts = False,
    strict_labels: StrictLabels = False,
    output: Annotated[PlanFormat, typer.Option("--output", "-o", help="How to print it.")] = PlanFormat.TREE,
    save: Annotated[
        Path | None, typer.Option(help="Save the plan to this file, too, for: capi-mover move --plan FILE.")
    ] = None,
) -> None:
    """Shows what a move would do: what moves, in which order, what is copied but kept, what stays and why.

    Nothing is changed. A saved plan is what a later move does, or it is refused: the source must not have changed.

    Example: capi-mover plan -n metal3 -o table --save metal3.plan

    Example: capi-mover plan -n metal3 -o html > metal3.html
    """
    with errors_shown():
        from mover import api
        from mover.models import MoveOptions

        options = MoveOptions(
            namespace="" if all_namespaces else namespace or None,
            clusters=tuple(cluster or ()),
            selector=selector,
            hosts=hosts,
            all_hosts=all_hosts,
            strict_labels=strict_labels,
        )
        found = run(api.plan_async(api.ClusterRef(kubeconfig, kubeconfig_context), options, save_to=save))
        print_text(_printed(found, output))


def _printed(plan: Plan, output: PlanFormat) -> str:
    from graph.render import dot, mermaid
    from mover.plan_report import plan_json, table_lines, tree_lines

    match output:
        case PlanFormat.TREE:
            return "\n".join(tree_lines(plan))
        case PlanFormat.TABLE:
            return "\n".join(table_lines(plan))
        case PlanFormat.MERMAID:
            return mermaid(plan.selection)
        case PlanFormat.DOT:
            return dot(plan.selection)
        case PlanFormat.HTML:
            from mover.page import plan_page

            return plan_page(plan)
        case PlanFormat.JSON:
            import orjson

            return orjson.dumps(plan_json(plan), option=orjson.OPT_INDENT_2).decode()
        case PlanFormat.YAML:
            import yaml

            return yaml.safe_dump(plan_json(plan), sort_keys=False).rstrip()


@app.command("explain")
def explain_command(
    wanted: Annotated[str, typer.Argument(help="KIND/NAME or KIND.GROUP/NAME.", metavar="OBJECT")],
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    cluster: ClusterNames = None,
    selector: Selector = "",
    hosts: Hosts = "",
    all_hosts: AllHosts = False,
    strict_labels: StrictLabels = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Shows why an object moves or not: its owners up to the root, the rule, what refers to it, its place in the order.

    The kind may be given as kubectl takes it: by its name, its plural or a short name.

    Example: capi-mover explain bmh/node-0001 -n metal3
    """
    console = new_console()
    with errors_shown():
        from graph.explain import explanation_json, explanation_lines
        from mover import api
        from mover.models import MoveOptions

        options = MoveOptions(
            namespace="" if all_namespaces else namespace or None,
            clusters=tuple(cluster or ()),
            selector=selector,
            hosts=hosts,
            all_hosts=all_hosts,
            strict_labels=strict_labels,
        )
        why = run(api.explain_async(api.ClusterRef(kubeconfig, kubeconfig_context), wanted, options))
        if output is OutputFormat.JSON:
            print_json(explanation_json(why))
        else:
            print_all(console, explanation_lines(why))
