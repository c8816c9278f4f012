"""What the server checks before a reply counts.

refusal        why a reply was left out, and the error that says so
training       a training reply: names, shapes, dtypes, finite, users, norm
adaptive_clip  a clip that follows the replies
bounds         the clip, enforced
aggregation    the mean over users, or a robust rule over nodes
influence      how many users a reply may count as
evaluation     an evaluation reply: finite, consistent figures
reply_size     how large a reply may be
robust_answers  a robust rule over answers of evaluation rounds
combine        the nodes' answers together, so that no single node decides
round_log      who took part in each round, and what was refused
"""
