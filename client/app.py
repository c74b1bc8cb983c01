"""The site's side of Flower: each message is one stage, answered by `client.steps`.

Nothing is raised to Flower: an exception's text would travel to the coordinator. The reason of a
refusal stays in the site's log; the reply says it in one word. What a handler made of a message is
looked at once more (`client.egress`) and written anew before it leaves.
"""

from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client import egress, state
from client.folder import open_site, stamp
from client.session import Session, session
from client.steps import answer, task_of
from client.trail import refused_at
from common.errors import ConfigError
from common.keys import read_roster
from common.refusals import word_of
from common.secagg.riding import CONFIRM_ADVERTISE, UNMASK_SHARE
from common.settings import overrides_from_run_config
from common.wire import MESSAGE_TYPES, VERSION, Reply, decode_request, encode_reply

STAGE_OF = {message_type: stage for stage, message_type in MESSAGE_TYPES.items()}


def last_look(
    message: Message, context: Context, respond: Callable[[Message, Context], Message]
) -> Message:
    """Let nothing leave but a reply of the protocol; Flower puts this round every handler."""
    stage, root = STAGE_OF[message.metadata.message_type], None
    try:
        root = site_root(context)
        reply = egress.reply_in(stage, respond(message, context))
        if not reply.refused:
            _check(stage, reply, root, message, context)
    except Exception as error:
        reply = _refuse(stage, root, error)
    return Message(encode_reply(reply), reply_to=message)


app = ClientApp(mods=[last_look])


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Say who this site is."""
    return _respond("hello", message, context)


@app.query("advertise")
def advertise(message: Message, context: Context) -> Message:
    """Agree to take part, with fresh keys."""
    return _respond("advertise", message, context)


@app.query("share")
def share(message: Message, context: Context) -> Message:
    """Deal shares of this round's secrets to the other sites."""
    return _respond("share", message, context)


@app.train("mask")
def mask(message: Message, context: Context) -> Message:
    """Train, evaluate or count, and send the masked vector."""
    return _respond("mask", message, context)


@app.query("confirm")
def confirm(message: Message, context: Context) -> Message:
    """Sign the list of contributions that arrived."""
    return _respond("confirm", message, context)


@app.query("unmask")
def unmask(message: Message, context: Context) -> Message:
    """Send the shares that take the masks off the sum."""
    return _respond("unmask", message, context)


@app.query("confirm_advertise")
def confirm_advertise(message: Message, context: Context) -> Message:
    """Sign the list, and agree to take part in the next rounds, with fresh keys."""
    return _respond(CONFIRM_ADVERTISE, message, context)


@app.query("unmask_share")
def unmask_share(message: Message, context: Context) -> Message:
    """Send the shares that take the masks off, and deal shares of the next rounds' secrets."""
    return _respond(UNMASK_SHARE, message, context)


def place_of(message: Message, context: Context) -> tuple[str, int]:
    """Study and training round of an answered message, for the site's own status.

    Evaluations and feature statistics are counted by themselves; their messages say no round.
    """
    record = message.content.config_records.get("tacit") if message.has_content() else None
    task = str(record["task"]) if record and "task" in record else ""
    number = state.round_of(context, task) if task == "train" else 0
    return str(context.run_config.get("study", "")), number


def _respond(stage: str, message: Message, context: Context) -> Message:
    reply = _reply(stage, message, context)
    return Message(encode_reply(reply), reply_to=message)


def _reply(stage: str, message: Message, context: Context) -> Reply:
    root: Path | None = None
    try:
        root = site_root(context)
        request = decode_request(stage, message.content)
        if stage == "hello":
            return Reply({"version": VERSION, "site": open_site(root).name})
        current = _session(root, context)
        task = task_of(request)
        answered = answer(request, current, state.load(context, task))
        state.store(context, task, answered.states)
    except Exception as error:
        return _refuse(stage, root, error)
    return answered.reply


def _check(stage: str, reply: Reply, root: Path, message: Message, context: Context) -> None:
    """The last look at a reply that is no refusal.

    Raises:
        PrivacyError: it must not leave.
    """
    if stage == "hello":
        egress.check_hello(reply, open_site(root).name)
        return
    current = _session(root, context)
    egress.check(stage, reply, current)
    task = task_of(decode_request(stage, message.content))
    egress.check_receipt(stage, reply, current, state.load(context, task).ending)


def _session(root: Path, context: Context) -> Session:
    """The run's session, read anew when policy, roster, manifest or the day has changed.

    Raises:
        ConfigError: the coordinator names a file where it may only name a study.
    """
    overrides = overrides_from_run_config(context.run_config)
    study = str(context.run_config.get("study", ""))
    if "site-dir" in context.node_config and study.endswith((".yaml", ".yml")):
        raise ConfigError("A coordinator may name a study of this installation, not a file.")
    current = session(root, study, overrides, stamp(root))
    if not current.is_current():
        session.cache_clear()
        current = session(root, study, overrides, stamp(root))
    return current


def _refuse(stage: str, root: Path | None, error: Exception) -> Reply:
    """Log the reason at the site, if its folder can be written; answer in one word."""
    if root is not None:
        refused_at(root, stage, error)
    return Reply(refused=word_of(error))


def site_root(context: Context) -> Path:
    """The folder of the site that this node is.

    In a deployment the node's own configuration names it; in a simulation the node's number
    picks one of the throw-away sites.

    Raises:
        ConfigError: neither is given.
    """
    own = context.node_config.get("site-dir")
    if own:
        return _deployed(Path(str(own)))
    number = context.node_config.get("partition-id")
    if number is None:
        raise ConfigError("This node has no site folder: start it with node-config site-dir=…")
    root = Path(str(context.run_config["federation"]))
    names = tuple(read_roster(root / "roster.json"))
    if int(number) >= len(names):
        raise ConfigError(f"There are more nodes than the {len(names)} sites of the federation.")
    return root / "sites" / names[int(number)]


def _deployed(root: Path) -> Path:
    """A real site's folder; one whose noise comes from a seed is refused.

    Raises:
        ConfigError: the policy names a reproducible_seed.
    """
    if open_site(root).policy.reproducible_seed is not None:
        raise ConfigError("reproducible_seed is for simulations: take it out of policy.yaml.")
    return root
