"""`capi-mover backup`, `restore` and `release`: a directory in place of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mover.cli.app import app
from mover.cli.options import (
    DryRunFlag,
    EncryptTo,
    IdentityFile,
    KeepPaused,
    Kubeconfig,
    KubeconfigContext,
    LogAs,
    LogFormat,
    MetricsFile,
    Namespace,
    OutputFormat,
    RecordsNamespace,
    ToKubeconfig,
    ToKubeconfigContext,
    ToldAs,
    Verbosity,
)
from mover.cli.saving import Saving, load, save
from mover.cli.telling import Telling
from mover.cli.terminal import run
from mover.names import RECORDS_NAMESPACE


@app.command("backup")
def backup_command(
    directory: Annotated[Path, typer.Argument(help="An empty directory, or one that is not there yet.")],
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    namespace: Namespace = None,
    keep_paused: KeepPaused = False,
    encrypt_to: EncryptTo = None,
    dry_run: DryRunFlag = False,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
    output: ToldAs = OutputFormat.TEXT,
    log_format: LogAs = LogFormat.TEXT,
    metrics_file: MetricsFile = None,
) -> None:
    """Saves the objects of a namespace to a directory, one file each, with checksums.

    The source is paused for as long as it takes to read it. clusterctl move --from-directory can read the files, too.

    Example: capi-mover backup saved/ -n metal3 --encrypt-to age1…
    """
    telling = Telling(verbosity, output=output, log_format=log_format, metrics_file=metrics_file, dry_run=dry_run)
    with telling.begun() as teller:
        from mover import api
        from mover.models import MoveOptions

        options = MoveOptions(namespace=namespace or None)
        saving = Saving(keep_paused, tuple(encrypt_to or ()), dry_run=dry_run)
        save(
            teller,
            api.ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace),
            directory,
            options,
            saving,
        )


@app.command("restore")
def restore_command(
    directory: Annotated[Path, typer.Argument(help="A directory made by capi-mover or by clusterctl.")],
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    keep_paused: KeepPaused = False,
    identity: IdentityFile = None,
    dry_run: DryRunFlag = False,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
    output: ToldAs = OutputFormat.TEXT,
    log_format: LogAs = LogFormat.TEXT,
    metrics_file: MetricsFile = None,
) -> None:
    """Creates the objects of a directory on a cluster; what is there already is left as it is.

    A damaged, missing or foreign file is refused by name before anything is created.

    Example: capi-mover restore saved/ --to-kubeconfig=target-kubeconfig.yaml
    """
    telling = Telling(verbosity, output=output, log_format=log_format, metrics_file=metrics_file, dry_run=dry_run)
    with telling.begun() as teller:
        from mover import api
        from mover.models import MoveOptions

        saving = Saving(keep_paused, identity=identity, dry_run=dry_run)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context, records_namespace=records_namespace)
        load(teller, target, directory, MoveOptions(), saving)


@app.command("release")
def release_command(
    directory: Annotated[Path, typer.Argument(help="The directory of the backup.")],
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    identity: IdentityFile = None,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
) -> None:
    """Resumes a source that a backup has left paused: by --keep-paused, or because it was killed.

    Example: capi-mover release saved/ --kubeconfig=source.kubeconfig
    """
    with Telling(verbosity).begun() as teller:
        from mover import api

        with teller.watching() as listener:
            source = api.ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace)
            count = run(api.release_async(source, directory, listener, identity=identity))
        teller.show([f"Resumed; {count} fields are as they were before the backup."])
