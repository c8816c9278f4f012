"""Taking part in a federation from inside the app's own process: a thread, started and stopped, and no subprocess.

participant  the object that an application uses
loop         what its thread does
policy       when a device takes part, and how much of it a federation may use
state        what a participant does now
rounds       a message answered from the interactions in the user's store
budget       the bytes of a day, kept in the store
flower       what a SuperNode says to a SuperLink; imported when a participant starts
"""

from tegu.client.participant.participant import Participant
from tegu.client.participant.policy import Policy
from tegu.client.participant.state import ParticipantState

__all__ = ["Participant", "ParticipantState", "Policy"]
