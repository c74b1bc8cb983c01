"""What `tacit site init` writes: policy, manifest and systemd units, with their explanations."""

POLICY = """\
# What this site allows, whatever a coordinator asks. What is not allowed here is refused.
# The site reads this file anew when it changes. `tacit site check` says whether it fits.

# The site's name in the roster.
site: {site}

# The table of recordings, one row a clip; relative to this folder, or absolute.
manifest: {manifest}

# Where extracted features are kept; they never leave the site.
cache: cache

# The purposes that a study may have here. With none, every study is refused.
purposes:{purposes}

# The modalities that studies may use: audio, video, image, text, physio, features_NAME.
# With none listed: whatever the manifest has.
modalities: []

# The labels in this site's data. A study whose classes lack one is refused before data is read.
labels: []

# In how many folds this site's persons may be dealt; 0 where the manifest holds the split.
folds: 0

# Whom a privacy budget speaks about: person (each of them, with all their clips) or record.
unit: person

# The public number of persons that runs here are scaled by. Round it: it is no secret, and it
# must not follow from who happens to be in the data today.
declared_persons: {persons}

# The most epsilon that one person may ever spend here, over all studies, at this delta.
# Delta must be at most 1 / (10 x persons).
max_epsilon: {max_epsilon:g}
delta: {delta}

# Whether studies without differential privacy may run at all.
allow_without_privacy: false

# No sum of fewer sites; no exact count with fewer persons of this site behind it.
min_sites: 3
min_persons: 10

# The most training rounds of one run.
max_rounds: 200
"""

MANIFEST = """\
sample_id,person_id,session_id,audio,video,text,physio,label,split,consent_scope,consent_until
"""

_UNIT = """\
[Unit]
Description=Tacit {{site}}: {what}
Wants=network-online.target
After=network-online.target{after}
StartLimitIntervalSec=0

[Service]
ExecStart={{tacit}} site {command} {{folder}}
Restart=always
RestartSec=10
User=tacit
UMask=0077
LimitCORE=0
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={{home}}

[Install]
WantedBy=multi-user.target
"""

SUPERNODE_UNIT = _UNIT.format(
    what="Flower's SuperNode, the one connection to the coordinator", after="", command="supernode"
)
RUNNER_UNIT = _UNIT.format(
    what="the runner, which trains on this site's recordings",
    after=" tacit-supernode-{site}.service",
    command="runner",
)
