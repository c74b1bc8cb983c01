"""A runner that dies while it hands over an answer does not hold up its SuperNode."""

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.nodestate import NodeStateFactory

from client.site.supernode import Answers, Pauses, whole_only
from simulations.federation import InProcessGrid

RUN = 7


class Node:
    """A SuperNode's own state with one message that a runner works on."""

    def __init__(self) -> None:
        InProcessGrid(lambda *_: None, 1, {})  # Flower's messages want a task's identity
        stores = ObjectStoreFactory()
        self.state, self.store = NodeStateFactory(stores).state(), stores.store()
        self.state.set_node_id(1)
        self.asked = self._message(Message(RecordDict(), 1, "query.hello"))
        self.state.store_message(self.asked)
        self.state.get_messages_legacy(is_reply=False)
        self.task = self.state.create_task(task_type="flwr-clientapp", run_id=RUN, fab_hash="")
        self.state.claim_task(self.task)
        self.state.activate_task(self.task)
        content = RecordDict({"tacit": ConfigRecord({"version": 1})})
        self.answer = self._message(Message(content, reply_to=self.asked))

    def _message(self, message: Message) -> Message:
        message.metadata.__dict__["_run_id"] = RUN
        message.metadata.__dict__["_message_id"] = message.object_id
        return message

    def begin(self) -> None:
        """What the runner does first: say which parts the answer has."""
        session = self.state.start_session(RUN)
        tree = get_object_tree(self.answer)
        self.state.store_message_and_object_tree(self.answer, tree, session)

    def complete(self) -> None:
        """What it does then: bring every part."""
        for key, part in get_all_nested_objects(self.answer).items():
            self.store.put(key, part.deflate())


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def answers(node):
    found = Answers(node.state, node.store)
    return lambda: found.get_messages_legacy(is_reply=True)


def test_an_answer_shows_once_every_part_of_it_has_come(node, answers):
    node.begin()
    assert answers() == []
    assert answers() == []
    node.complete()
    assert [one.metadata.message_id for one in answers()] == [node.answer.metadata.message_id]
    assert answers() == []


def test_in_place_of_an_answer_that_nobody_will_finish_comes_that_it_failed(node, answers):
    node.begin()
    assert answers() == []
    node.state.finish_task(node.task, "failed", "")
    assert answers() == []
    (failed,) = answers()
    assert failed.error.code == ErrorCode.CLIENT_APP_CRASHED
    assert failed.metadata.reply_to_message_id == node.asked.metadata.message_id
    assert answers() == []


def test_a_whole_answer_outlives_its_runner(node, answers):
    node.begin()
    node.complete()
    node.state.finish_task(node.task, "failed", "")
    assert [one.metadata.message_id for one in answers()] == [node.answer.metadata.message_id]
    assert answers() == []


def test_flowers_loop_is_given_the_whole_ones_alone(node):
    given = []

    def push(state, object_store, send):
        given.extend([state.get_messages_legacy(is_reply=True), state.get_node_id(), send])

    node.begin()
    whole_only(push)(state=node.state, object_store=node.store, send="send")
    assert given == [[], 1, "send"]


def test_pauses_are_short_for_a_while_after_an_answer():
    now, slept, pushed = [100.0], [], []
    pauses = Pauses(lambda: now[0], slept.append)
    pauses.sleep(3)
    pauses.after(lambda **given: pushed.append(given))(send="send")
    for moment in (101, 159, 161):
        now[0] = moment
        pauses.sleep(3)
    now[0] = 101
    pauses.sleep(0.5)
    assert pushed == [{"send": "send"}]
    assert slept == [3, 1, 1, 3, 0.5]
