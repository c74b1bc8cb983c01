"""What a site allows, whatever the coordinator asks: default deny."""

from client.policy.gate import TASKS, Ask, gate, gate_study, shut_by
from client.policy.hours import gate_hours
from client.policy.settings import gate_settings

__all__ = ["TASKS", "Ask", "gate", "gate_hours", "gate_settings", "gate_study", "shut_by"]
