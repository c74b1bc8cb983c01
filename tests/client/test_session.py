"""What a site keeps warm, and what it lets go."""

from client.session import Sessions


def opened(sessions, table, *overrides, stamp=(1,)):
    root = table.root / "sites" / "hill"
    return sessions(root, str(table.root / "study.yaml"), overrides, stamp)


def test_a_session_is_kept_while_nothing_that_it_rests_on_changes(lay_table):
    sessions, table = Sessions(), lay_table()
    first = opened(sessions, table)
    assert opened(sessions, table) is first
    assert opened(sessions, table, "training.num_server_rounds=1") is not first
    assert opened(sessions, table) is first
    assert opened(sessions, table, stamp=(2,)) is not first


def test_few_are_kept_however_many_settings_and_days_a_coordinator_tries(lay_table):
    sessions, table = Sessions(), lay_table()
    tried = [
        opened(sessions, table, f"training.learning_rate={0.01 * n}", stamp=(day,))
        for day in range(3)
        for n in range(1, 8)
    ]
    kept = sessions._kept[table.root / "sites" / "hill"]
    assert list(kept.values()) == tried[-Sessions.KEPT :]
    sessions.cache_clear()
    assert opened(sessions, table) not in tried
