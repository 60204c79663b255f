# A master with three workers serves files to four clients, reloads between two rounds, and quits gracefully.
# packages: nginx-light python3
# quick
program() {
  need nginx nginx-light
  mkdir -p files/sub temporary
  chmod -R a+rX . && chmod 777 temporary
  seq 1000 >files/small.txt
  seq 200000 >files/large.txt
  echo '<p>index</p>' >files/sub/index.html
  cat >nginx.conf <<CONF
daemon off;
worker_processes 3;
pid nginx.pid;
error_log server.log notice;
events { worker_connections 64; }
http {
  access_log off;
  default_type text/plain;
  gzip on; gzip_min_length 1000; gzip_types text/plain;
  client_body_temp_path temporary/body; proxy_temp_path temporary/proxy; fastcgi_temp_path temporary/fastcgi;
  uwsgi_temp_path temporary/uwsgi; scgi_temp_path temporary/scgi;
  open_file_cache max=10;
  server {
    listen 127.0.0.1:$port;
    root files;
    location /again/ { proxy_pass http://127.0.0.1:$port/; proxy_buffers 4 4k; }
    location = /moved { return 301 http://example.org/; }
    location /list/ { alias files/; autoindex on; autoindex_format json; }
  }
}
CONF
  "$@" nginx -p "$PWD/" -c nginx.conf -e server.log >server.log 2>&1 &
  serve $! || return
  nginx_clients
  kill -HUP "$server"
  for _ in $(seq 100); do grep -q 'gracefully shutting down\|exiting' server.log && break; sleep 0.1; done
  nginx_clients
  stop QUIT
}

nginx_clients() {
  /usr/bin/python3 - "$port" <<'PYTHON'
import hashlib, http.client, sys, threading
port = int(sys.argv[1])
wanted = [("GET", "/small.txt", {}), ("GET", "/large.txt", {}), ("GET", "/large.txt", {"Accept-Encoding": "gzip"}),
          ("GET", "/large.txt", {"Range": "bytes=1000-5000,7000-7100"}), ("GET", "/sub/", {}), ("HEAD", "/small.txt", {}),
          ("GET", "/none", {}), ("POST", "/small.txt", {}), ("GET", "/again/small.txt", {}), ("GET", "/again/large.txt", {}),
          ("GET", "/moved", {})]
results = [None] * 4
def client(number):
    lines = []
    for turn in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for method, path, headers in wanted:
            connection.request(method, path, body=b"x" * 50000 if method == "POST" else None, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            multipart = "multipart" in answer.getheader("Content-Type", "")
            digest = len(body) if multipart else hashlib.md5(body).hexdigest()
            lines.append(f"{method} {path} {answer.status} {digest}")
            if answer.getheader("Connection") == "close":
                connection.close()
        connection.close()
    results[number] = lines
threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(all(lines == results[0] for lines in results), len(results[0]))
print("\n".join(results[0][:len(wanted)]))
PYTHON
}
