"""What `tacit site init` writes: policy and manifest, with their explanations."""

POLICY = """\
# yaml-language-server: $schema=policy.schema.json
# What this site allows, whatever a coordinator asks. What is not allowed here is refused.
# The site reads this file anew when it changes. `tacit site check` says whether it fits.
# Every key, its default and what it prevents: docs/policy.md.

# The site's name in the roster.
site: {site}

# The table of recordings, one row a clip; relative to this folder, or absolute.
manifest: {manifest}

# Where extracted features are kept; they never leave the site.
cache: cache

# --- Who may ask, and for what -------------------------------------------------------------

# The studies that may run here, by name. With none, every study is refused.
studies:{studies}

# The purposes that a study may have here. With none, every study is refused.
purposes:{purposes}

# Emotion inference at work or in education is refused (EU AI Act, Article 5(1)(f)), unless the
# medical or safety exception is named here with the document behind it and who signed:
# exception: {{kind: medical, reference: 'Legal opinion 2026-11', signed_by: 'Dr N. N., DPO'}}

# The approval that covers these recordings, and its last day. Without one, or after that day,
# every study is refused.
ethics:
  reference: {ethics}
  until: {until}

# purpose -> the words of the manifest's column consent_scope that cover it; clips without one of
# them are left out. A purpose that is not listed must be named in that column itself.
# consent_scopes: {{research: [broad-consent-v3]}}
consent_scopes: {{}}

# What a coordinator may set when it starts a run, and to what: a list of values, {{least, most}},
# or any. It may set no other key; what a study says by itself stands in conf/studies.
settings:
  training.num_server_rounds: {{least: 1, most: 200}}
  privacy.mode: [local, distributed]
  privacy.target_epsilon: {{most: {max_epsilon:g}}}
  privacy.target_delta: {{most: {delta}}}
  secure_aggregation.suite: [mlkem768_x25519]

# When nothing is begun here, in this machine's local time, such as ['06:30-18:00'].
quiet_hours: []

# --- The recordings ------------------------------------------------------------------------

# The modalities that studies may use: audio, video, image, text, physio, features_NAME.
# With none listed: whatever the manifest has.
modalities: []

# The frozen encoders that studies may name, each with its folder and, if you like, the one sha256
# that is accepted here, as `tacit data encoder FOLDER` prints it, such as
#   encoders: {{wavlm-base: {{path: models/wavlm-base, sha256: 4f1c…}}}}
encoders: {{}}

# The labels in this site's data. A study whose classes lack one is refused before data is read.
labels: []

# In how many folds this site's persons may be dealt; 0 where the manifest holds the split.
folds: 0

# --- What may be spent ---------------------------------------------------------------------

# Whom a privacy budget speaks about: person (each of them, with all their clips) or record.
unit: person

# The public number of persons that runs here are scaled by. Round it: it is no secret, and it
# must not follow from who happens to be in the data today.
declared_persons: {persons}

# The most epsilon that one person may ever spend here, over all studies, at this delta; and the
# most over all runs of one study. Delta must be at most 1 / (10 x persons).
max_epsilon: {max_epsilon:g}
max_epsilon_per_study: {max_epsilon:g}
delta: {delta}

# Whether studies without differential privacy may run at all.
allow_without_privacy: false

# The most training rounds of one run, the most evaluations of one study over all its runs (each
# leaves as exact counts, which no epsilon speaks of), and the largest clipping norm C.
max_rounds: 200
max_evaluations: 200
max_grad_norm: 1.0

# --- The secure sum ------------------------------------------------------------------------

# No sum of fewer sites; no exact count with fewer persons of this site behind it.
min_sites: 3
min_persons: 10

# The least that protects it: x25519, or mlkem768_x25519, which holds against quantum computers.
suite: mlkem768_x25519
"""

MANIFEST = """\
sample_id,person_id,session_id,audio,video,text,physio,label,split,consent_scope,consent_until
"""
