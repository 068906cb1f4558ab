"""What the fault scripts share: a PostgreSQL of their own, servers, a proxy, and clients that keep a ledger.

A client notes each answer that it was given: a registration, a refresh, a rename, a sign-out. `Ledger.losses` asks a server about
all of them and returns those that it no longer knows. Clients never share accounts, so a 401 that no act of the client's own
explains is wrong, and is noted at once.
"""

import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSPHRASE = "a river of seventeen blue lanterns"
# What a client does that must not be lost.
ACTS = ("register", "login", "refresh", "rename", "logout")


def binary():
    """Returns the server to test: FAULTS_BINARY, or the debug build."""
    return os.environ.get("FAULTS_BINARY", str(ROOT / "target/debug/hallpass"))


def tool(name):
    """Debian keeps PostgreSQL's own tools away from the path."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else name


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


class Workplace:
    """A temporary folder, and everything that was started in it; all of it ends with the block."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallpass-faults-"))
        self.folder.chmod(0o755)
        self.stack = contextlib.ExitStack()
        return self

    def __exit__(self, *_):
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def as_postgres(arguments):
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", *arguments] if os.getuid() == 0 else arguments


class Cluster:
    """A private PostgreSQL. `settings` are lines of postgresql.conf; `folder` is where the data lies."""

    def __init__(self, place, name="primary", settings=(), copy_of=None, folder=None):
        self.folder = folder or place.folder / name
        self.port = free_port()
        self.log = place.folder / f"{name}.log"
        self.folder.mkdir(exist_ok=True)
        self.log.touch()
        if os.getuid() == 0:
            for path in (self.folder, self.log):
                shutil.chown(path, "postgres", "postgres")
        self.folder.chmod(0o700)
        if copy_of:
            self._run("pg_basebackup", "-D", self.folder, "-R", "-X", "stream", "-c", "fast",
                      "-d", f"host=127.0.0.1 port={copy_of.port} user=postgres application_name={name}")
        else:
            self._run("initdb", "-D", self.folder, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale", "C")
        with open(self.folder / "postgresql.conf", "a") as conf:
            conf.write(f"\nport = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
            conf.writelines(f"{line}\n" for line in settings)
        place.stack.callback(self.stop, "immediate")

    def _run(self, name, *arguments):
        done = subprocess.run(as_postgres([tool(name), *map(str, arguments)]), capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise SystemExit(f"{name}: {done.stdout}{done.stderr}")

    def start(self):
        self._run("pg_ctl", "-D", self.folder, "-l", self.log, "-w", "start", "-o", "")
        return self

    def stop(self, mode="fast"):
        with contextlib.suppress(SystemExit):
            self._run("pg_ctl", "-D", self.folder, "-m", mode, "-w", "stop")

    def promote(self):
        self._run("pg_ctl", "-D", self.folder, "-w", "promote")

    def kill(self):
        """Kills every process of it with -9, as when the machine fails."""
        postmaster = (self.folder / "postmaster.pid").read_text().split()[0]
        children = subprocess.run(["ps", "--ppid", postmaster, "-o", "pid="], capture_output=True, text=True).stdout.split()
        for pid in [postmaster, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def sql(self, statement, database="postgres", writes=False):
        arguments = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", statement, database]
        options = {"PGOPTIONS": "-c default_transaction_read_only=off"} if writes else {}
        done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, **options})
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def answers(self):
        try:
            return self.sql("select 1") == "1"
        except RuntimeError:
            return False

    def url(self, port=None):
        return f"postgres://postgres@127.0.0.1:{port or self.port}/postgres?sslmode=disable"


class Proxy:
    """Passes TCP on to a port: at once, after `delay` seconds each way, or not at all while `is_cut`."""

    def __init__(self, target):
        self.target, self.delay, self.is_cut = target, 0.0, False
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        # Cut off: packets are lost, so the connection is neither answered nor refused.
        while self.is_cut:
            time.sleep(0.05)
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source, sink):
        queue = collections.deque()
        try:
            while True:
                wait = max(0.0, queue[0][0] - time.monotonic()) if queue else 0.2
                readable, _, _ = select.select([source], [], [], wait)
                if readable:
                    data = source.recv(65536)
                    if not data:
                        break
                    queue.append((time.monotonic() + self.delay, data))
                while queue and not self.is_cut and queue[0][0] <= time.monotonic():
                    sink.sendall(queue.popleft()[1])
                if self.is_cut:
                    time.sleep(0.02)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Server:
    """A Hallpass server; its log is a file. It keeps its port when it is started again."""

    def __init__(self, place, url, name="server", **settings):
        self.folder = place.folder / name
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.port, self.process = free_port(), None
        self.environment = {
            **os.environ,
            "HALLPASS_DATABASE__URL": url,
            "HALLPASS_PASSWORD__BCRYPT_COST": "4",
            "HALLPASS_THROTTLE__ON": "false",
            "HALLPASS_SESSION__REUSE_GRACE_S": "60",
            "RUST_LOG": "warn",
            **{f"HALLPASS_{key.upper()}": str(value) for key, value in settings.items()},
        }
        place.stack.callback(self.kill)

    def start(self):
        command = [binary(), "serve", "--bind", f"127.0.0.1:{self.port}", "--key-stdin"]
        self.process = subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=open(self.log, "a"))
        self.process.stdin.write(PASSPHRASE + "\n")
        self.process.stdin.close()
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit(f"the server does not start: {line}{self.log.read_text()[-2000:]}")
        return self

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def logged(self):
        """The size of the log: lines and bytes."""
        text = self.log.read_text()
        return text.count("\n"), len(text)


class Connection:
    """Keeps one connection to each of several servers; asks one that answers."""

    def __init__(self, ports):
        self.ports, self.open = list(ports), {}

    def ask(self, request, token=None, body=None, timeout=10, forwarded=None, is_json=True):
        """The status and the body; None where no answer came. `forwarded` is the client's address, as a proxy tells it."""
        method, path = request.split()
        port = random.choice(self.ports)
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if forwarded:
            headers["X-Forwarded-For"] = forwarded
        try:
            connection = self.open.get(port) or http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
            self.open[port] = connection
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text and is_json else {}
        except (OSError, http.client.HTTPException):
            if port in self.open:
                self.open.pop(port).close()
            return None


class Account:
    def __init__(self, email, password):
        self.email, self.password, self.name = email, password, None
        self.access = self.refresh = None
        # What was sent and not answered: it may be done or not.
        self.unsure = set()


class Ledger:
    """What one client was answered."""

    def __init__(self):
        self.accounts, self.dead, self.answers = [], [], collections.Counter()
        # Answers that no act of this client explains.
        self.wrong, self.is_unanswered = [], False

    def step(self, connection, note):
        # What was not answered is repeated first: an unanswered refresh only within the grace period.
        if not self.accounts or (random.random() < 0.05 and not self.is_unanswered):
            account = Account(f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex)
            answer = connection.ask("POST /auth/register", None, {"email": account.email, "password": account.password})
            if self._is(answer, 201, "register", note):
                self.accounts.append(account)
            return
        account = self.accounts[-1]
        if account.access is None:
            answer = connection.ask("POST /auth/login", None, {"email": account.email, "password": account.password})
            if self._is(answer, 200, "login", note):
                self._take(account, answer)
            return
        what = random.choices(("refresh", "rename", "logout"), (7, 1, 1))[0]
        # After a sign-out without an answer the session may be over.
        may_be_over = "logout" in account.unsure
        if what == "refresh" or may_be_over:
            answer = connection.ask("POST /auth/refresh", None, {"refresh_token": account.refresh})
            if may_be_over and answer and answer[0] == 401:
                self.dead.append((account.access, account.refresh))
                account.access, account.unsure = None, account.unsure - {"logout"}
            elif self._is(answer, 200, "refresh", note):
                self._take(account, answer)
                account.unsure.discard("logout")
        elif what == "rename":
            name = uuid.uuid4().hex
            account.unsure.add(name)
            answer = connection.ask("PATCH /user/", account.access, {"name": name})
            if self._is(answer, 200, "rename", note):
                account.name, account.unsure = name, account.unsure & {"logout"}
        else:
            account.unsure.add("logout")
            answer = connection.ask("POST /auth/logout", account.access, {})
            if self._is(answer, 204, "logout", note):
                self.dead.append((account.access, account.refresh))
                account.access = None
                account.unsure.discard("logout")

    def _take(self, account, answer):
        account.access, account.refresh = answer[1]["data"]["token"], answer[1]["data"]["refresh_token"]

    def _is(self, answer, status, what, note):
        told = answer[0] if answer else None
        note(what, told)
        self.is_unanswered = told in (None, 502, 503, 504)
        if told == status:
            self.answers[what] += 1
            return True
        if not self.is_unanswered:
            self.wrong.append(f"{what}: {answer}")
        return False

    def losses(self, connection):
        """Compares what was answered with what the server knows."""
        lost = []

        def ask(*arguments):
            for _ in range(100):
                answer = connection.ask(*arguments)
                if answer and answer[0] < 500:
                    return answer
                time.sleep(0.1)
            raise SystemExit(f"no server answers {arguments[0]}: {answer}")

        for access, refresh in self.dead:
            status, body = ask("GET /user/", access)
            if (status, body.get("error")) != (401, "token_revoked"):
                lost.append(f"a sign-out: {status} {body}")
            elif ask("POST /auth/refresh", None, {"refresh_token": refresh})[0] != 401:
                lost.append("a sign-out: the refresh token is good again")
        for account in self.accounts:
            login = ask("POST /auth/login", None, {"email": account.email, "password": account.password})
            if login[0] != 200:
                lost.append(f"a registration: {login}")
                continue
            if login[1]["data"]["user"]["name"] not in {account.name, *account.unsure}:
                lost.append(f"a name: {login[1]['data']['user']['name']}")
            if account.access is None:
                continue
            answer = ask("POST /auth/refresh", None, {"refresh_token": account.refresh})
            if answer[0] == 200:
                self._take(account, answer)
            elif "logout" not in account.unsure:
                lost.append(f"a refresh: {answer}")
            else:
                account.access = None
        return lost


class Load:
    """Clients that write and keep ledgers, and readers of known tokens, until `stop`."""

    def __init__(self, ports, writers=4, readers=2):
        self.ports, self.ledgers = list(ports), [Ledger() for _ in range(writers)]
        self.readers, self.known = readers, []
        # (time, what, status); what a reader was told counts as "guarded".
        self.told, self.is_over, self.threads = [], threading.Event(), []
        self.began = time.monotonic()

    def note(self, what, status):
        self.told.append((time.monotonic(), what, status))

    def start(self):
        connection = Connection(self.ports)
        for _ in range(self.readers):
            body = {"email": f"{uuid.uuid4().hex}@example.com", "password": uuid.uuid4().hex}
            assert connection.ask("POST /auth/register", None, body)[0] == 201
            token = connection.ask("POST /auth/login", None, body)[1]["data"]["token"]
            for port in self.ports:
                assert Connection([port]).ask("GET /user/", token)[0] == 200
            self.known.append(token)
        self.resume()
        return self

    def resume(self):
        self.is_over.clear()
        self.threads = [threading.Thread(target=self._write, args=(ledger,)) for ledger in self.ledgers]
        self.threads += [threading.Thread(target=self._read, args=(token,)) for token in self.known]
        for thread in self.threads:
            thread.start()

    def _write(self, ledger):
        connection = Connection(self.ports)
        while not self.is_over.is_set():
            ledger.step(connection, self.note)
            if ledger.is_unanswered:
                time.sleep(0.02)

    def _read(self, token):
        connection = Connection(self.ports)
        while not self.is_over.is_set():
            answer = connection.ask("GET /user/", token)
            self.note("guarded", answer[0] if answer else None)
            time.sleep(0.005)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        return self

    def answers(self):
        return sum((ledger.answers for ledger in self.ledgers), collections.Counter())

    def statuses(self, what, since=0.0, until=float("inf")):
        return collections.Counter(status for at, told, status in self.told if told in what and since <= at < until)

    def first(self, what, since):
        """Seconds from `since` to the first success, of a request that was answered after it."""
        return min((at - since for at, told, status in self.told if told == what and at > since and status in (200, 201, 204)), default=None)

    def check(self, ports=None):
        """Fails where an answered act is lost or a wrong answer was given. Returns what was answered."""
        wrong = [line for ledger in self.ledgers for line in ledger.wrong]
        lost = [line for ledger in self.ledgers for line in ledger.losses(Connection(ports or self.ports))]
        if wrong or lost:
            raise SystemExit(f"{len(wrong)} wrong answers, {len(lost)} losses:\n" + "\n".join((wrong + lost)[:20]))
        guarded = self.statuses(("guarded",))
        if any(status == 401 for status in guarded):
            raise SystemExit(f"a known token was refused: {guarded}")
        return dict(self.answers())


def answered_acts(connection):
    """A ledger of a registration, a session and a sign-out: what `plant_losses` undoes."""
    ledger = Ledger()
    for _ in range(3):
        account = Account(f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex)
        assert connection.ask("POST /auth/register", None, {"email": account.email, "password": account.password})[0] == 201
        ledger.accounts.append(account)
    _, alive, ended = ledger.accounts
    for account in (alive, ended):
        ledger._take(account, connection.ask("POST /auth/login", None, {"email": account.email, "password": account.password}))
    assert connection.ask("POST /auth/logout", ended.access, {})[0] == 204
    ledger.dead.append((ended.access, ended.refresh))
    ended.access = None
    return ledger


def plant_losses(cluster, ledger, schema="hallpass"):
    """Undoes, in the database alone, the acts of `answered_acts`. Returns how many losses must be found."""
    registered, alive, ended = (f"(select id from users where email = '{account.email}')" for account in ledger.accounts)
    cluster.sql(f"set search_path = {schema}; "
                f"update sessions set ended_at = null where user_id = {ended}; "
                f"update sessions set refresh_digest = sha256(refresh_digest) where user_id = {alive}; "
                f"delete from users where id = {registered}")
    return 3


def report(name, **figures):
    print(f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items()), flush=True)


def openssl(*arguments, cwd):
    done = subprocess.run(["openssl", *arguments], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"openssl: {done.stderr}")


def authority(place, name):
    """A certification authority; returns its certificate."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out",
            f"{name}.pem", cwd=place.folder)
    return place.folder / f"{name}.pem"


def certificate(place, ca, host):
    """A certificate for the host, signed by the authority, and its key."""
    (place.folder / "extensions").write_text(f"subjectAltName = DNS:{host}\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", "-keyout", f"{host}.key", "-out", "request.csr", cwd=place.folder)
    openssl("x509", "-req", "-in", "request.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2", "-extfile",
            "extensions", "-out", f"{host}.crt", cwd=place.folder)
    return place.folder / f"{host}.crt", place.folder / f"{host}.key"
