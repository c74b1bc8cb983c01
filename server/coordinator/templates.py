"""The reverse proxy that `tacit coordinator init` writes, with its explanation."""

from string import Template

NGINX = Template("""\
# The one door to the coordinator. Sites reach the fleet API and nothing else: Flower's control
# API (which starts runs) and its runtime API (which hands out tasks) stay on the loopback.
# Include this file in the http block of nginx.conf.
server {
    listen $listen ssl;
    server_name $host;

    ssl_certificate "$home/server.crt";
    ssl_certificate_key "$home/server.key";
    ssl_protocols TLSv1.3;

    # A masked model can be large; Flower cuts it into objects of its own.
    client_max_body_size 64m;

    location /v1/fleet/ {
        limit_except POST {
            deny all;
        }
        # With its path, so that the SuperLink is asked what was matched here, whatever way the
        # sender wrote it.
        proxy_pass https://127.0.0.1:$inner/v1/fleet/;
        proxy_ssl_trusted_certificate "$home/ca.crt";
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
