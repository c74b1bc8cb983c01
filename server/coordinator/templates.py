"""What `tacit coordinator init` writes: systemd units and a reverse proxy, with explanations."""

from string import Template

_UNIT = """\
[Unit]
Description=Tacit {{name}}: {what}
Wants=network-online.target
After=network-online.target{after}
StartLimitIntervalSec=0

[Service]
ExecStart={{tacit}} coordinator {command} {{folder}}
Restart=always
RestartSec=5
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

SUPERLINK_UNIT = _UNIT.format(
    what="Flower's SuperLink, on the loopback only", after="", command="superlink"
)
SUPEREXEC_UNIT = _UNIT.format(
    what="Flower's executor of the coordinator's code",
    after=" tacit-superlink-{name}.service",
    command="superexec",
)

NGINX = Template("""\
# The one door to the coordinator. Sites reach the fleet API and nothing else: Flower's control
# API (which starts runs) and its runtime API (which hands out tasks) stay on the loopback.
# Include this file in the http block of nginx.conf.
server {
    listen $port ssl;
    server_name $host;

    ssl_certificate $home/server.crt;
    ssl_certificate_key $home/server.key;
    ssl_protocols TLSv1.3;

    # A masked model can be large; Flower cuts it into objects of its own.
    client_max_body_size 64m;

    location /v1/fleet/ {
        proxy_pass https://127.0.0.1:$inner;
        proxy_ssl_trusted_certificate $home/ca.crt;
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_read_timeout 300s;
    }

    location / {
        return 404;
    }
}
""")
