"""Every cap in one table, each with its reason. Sizes in bytes, durations in seconds (suffix `_S`).

A wing adds its own rows here, under its heading: a limit that stands elsewhere is a limit that nobody reviews.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# --- files and streams
CHUNK: Final = 256 * KIB  # copy buffer: large enough for the kernel's read-ahead, small beside the memory promise

# --- depot client
DOWNLOAD_MAX: Final = 8 * GIB  # an artifact on the wire: what a depot accepts; a lying length must not fill a disk
DOWNLOAD_PARALLEL: Final = 4  # closure downloads at once: fills a link with small packages, stays polite to one server
DOWNLOAD_RATE_MIN: Final = 1 * KIB  # bytes a second over DOWNLOAD_WINDOW_S: slower is a body that never ends, not a bad line
DOWNLOAD_WINDOW_S: Final = 60.0  # over which the rate is judged: longer than any stall that TCP recovers from
DOWNLOAD_LOCK_S: Final = 3600.0  # wait for another process that downloads the same file: a large one over a thin line
DEPOT_ANSWER_MAX: Final = 4 * MIB  # a JSON answer: a package's manifest and configuration fit many times over
DEPOT_KEY_MAX: Final = 4 * KIB  # a key's text is under 300 bytes
DEPOT_PAGES_MAX: Final = 2000  # pages of 50 rows: 100,000 releases of one name; a depot that says 206 for ever is cut
DEPOT_TRIES: Final = 6  # first try and five more, as Habitat's client
DEPOT_CONNECT_TRIES: Final = 4  # when nobody listens at all: about three seconds, enough for a restart, short for a wrong URL
DEPOT_BACKOFF_FIRST_S: Final = 0.5  # a restarted depot is back by then
DEPOT_BACKOFF_MAX_S: Final = 15.0  # a person is waiting: six tries end within about half a minute
DEPOT_CONNECT_S: Final = 10.0  # DNS, TCP and TLS together; a host that takes longer is down
DEPOT_READ_S: Final = 60.0  # silence between two reads: a busy depot verifies a large upload in less
DEPOT_REQUEST_S: Final = 120.0  # one small request from first byte to last
UPLOAD_ANSWER_S: Final = 300.0  # from the last byte sent to the answer: the depot hashes and verifies the whole file first
CLOSURE_MAX: Final = 2000  # packages that one install may need: three times the largest closure of Habitat's core plans
CHANNELS_ASKED_MAX: Final = 40  # channels looked through to say where a package is; one request each
SEARCH_TEXT_MAX: Final = 512  # characters that the client searches for: an origin, a slash and a name
HOOK_SOURCE_MAX: Final = 1 * MIB  # a hook's or configuration file's template before rendering
INSTALL_HOOK_S: Final = 600.0  # an install hook may build indexes or make users; longer means that it hangs
INSTALL_HOOK_OUTPUT_MAX: Final = 1 * MIB  # of each stream, kept in the hook's log; the rest is counted, not stored

# --- builder
PLAN_MAX: Final = 256 * KIB  # bytes of plan.toml, default.toml or plan.sh: hundreds of times a long real plan (threats S20)
PLAN_SOURCES_MAX: Final = 256  # sources and alternates of one plan: a vendored npm tree should be one archive instead
PLAN_TREE_MAX: Final = 64 * MIB  # hooks, config and local files of one plan folder that are hashed or copied
PLAN_FILES_MAX: Final = 100_000  # files of one plan folder, so that `pkg build /` ends soon and with a message
SOURCE_MAX: Final = 4 * GIB  # one source file: a browser's source is 1 to 2 GiB
SOURCE_REDIRECTS_MAX: Final = 5  # a release page, a signed store, a mirror and two to spare (threats 3.4)
SOURCE_CONNECT_S: Final = 15.0  # TCP and TLS handshake: longer than three lost SYNs
SOURCE_READ_S: Final = 60.0  # silence in the middle of a download
SOURCE_DEADLINE_S: Final = 3600.0  # one download in all, against a server that sends a byte a minute (threats S09)
SOURCE_TOOL_S: Final = 1800.0  # one run of pip, npm or apt-get: a slow index, never for ever
SOURCE_TOOL_OUTPUT_MAX: Final = 4 * MIB  # what such a tool may print before it is ended
APT_LISTS_AGE_S: Final = 86_400.0  # the own copy of the source archive's index is refreshed at most once a day
UNPACK_MEMBERS_MAX: Final = 200_000  # members of one source archive: the largest kernels have under 100 000
UNPACK_MAX: Final = 16 * GIB  # bytes of one unpacked source archive
UNPACK_PATH_MAX: Final = 1024  # bytes of one member's name
UNPACK_HEADER_MAX: Final = 1 * MIB  # bytes of a tar header that describes a member: names, and attributes that we drop
STEP_DEADLINE_S: Final = 6 * 3600.0  # one build step: compilers of browsers take about two hours on eight cores
STEP_LOG_MAX: Final = 64 * MIB  # a step's log; what comes after is counted and dropped, so a loop cannot fill the disk
STEP_TAIL_LINES: Final = 20  # lines of a failed step's log that are shown: one screen with the error's head
STEP_KILL_S: Final = 3.0  # between TERM and KILL for a step that is interrupted
PLAN_SH_EVAL_S: Final = 30.0  # reading a plan.sh's variables: it runs the plan's own top-level code
PLAN_SH_RECORD_MAX: Final = 4 * MIB  # one message of the bash side of a plan.sh build

# --- packages: keys, signature headers, TOML, wire bytes
KEY_TEXT_MAX: Final = 4 * KIB  # a key file has under 400 bytes; room for comments of other tools after the fourth line
KEY_NAME_MAX: Final = 231  # characters: with the revision and `.box.key` it is still one file name (255)
SEALED_TEXT_MAX: Final = 16 * MIB  # an encrypted message is a configuration or a file that is sent to a service
HEADER_LINE_MAX: Final = 512  # bytes of one header line: the longest of ours is the key's name, 246; the signature takes 172
PAYLOAD_MAX: Final = 16 * GIB  # of a signed file: larger is a stream that never ends, not a package
TOML_MAX: Final = 256 * KIB  # of a document: the largest default.toml of Habitat's core plans has under 40 KiB
TOML_DOTS_MAX: Final = 16  # parts of one dotted key: tomllib needs 1.5 GB for 20,000 of them
TOML_NESTING_MAX: Final = 16  # brackets within brackets, before parsing: tomllib recurses
TOML_DEPTH_MAX: Final = 30  # of the parsed document: what merging, schema and rendering can walk
TOML_KEYS_MAX: Final = 10_000  # keys and table headers: bounds the objects made, some 100 bytes each
TOML_WORD_MAX: Final = 512  # characters of a bare key, number or date: Python refuses 4,300 digits, slowly
WIRE_MAX: Final = 4 * MIB  # a whole message: a full state exchange of 10,000 members
WIRE_ARRAY_MAX: Final = 8192  # items; the reader allocates this before it sees them, 1023 deep at most: 64 MB for a moment
WIRE_DEPTH_MAX: Final = 64  # of a value: far from Python's own stack, which repr, JSON and merging use
WIRE_MAP_MAX: Final = 4096  # entries of one map
WIRE_TEXT_MAX: Final = 1 * MIB  # bytes of one text or binary value: the largest ring document

# --- packages: archives and the installed tree
ARCHIVE_OUTPUT_MAX: Final = 8 * GIB  # unpacked bytes of one package: CUDA and friends have 5
ARCHIVE_RATIO_MAX: Final = 200  # unpacked to packed, once ARCHIVE_RATIO_FREE is passed: real trees reach 10, zeros 6,850
ARCHIVE_RATIO_FREE: Final = 16 * MIB  # unpacked bytes before the ratio is judged: a small package may well be all spaces
ARCHIVE_MEMBERS_MAX: Final = 200_000  # files, directories and links: ten times a full JDK or texlive
ARCHIVE_PATH_MAX: Final = 1024  # bytes of a member's name or link's target: with any root still below PATH_MAX
ARCHIVE_COMPONENT_MAX: Final = 255  # bytes of one component: what ext4, xfs and btrfs can store
ARCHIVE_DEPTH_MAX: Final = 64  # components: each is one open directory while writing; node_modules reaches 40
ARCHIVE_PAX_MAX: Final = 64 * KIB  # one extended header: path and link of 1 KiB each and stray keys
ARCHIVE_LINKS_MAX: Final = 16 * MIB  # names and targets of all symbolic links, which are kept in memory until the end
XZ_MEMORY_MAX: Final = 66 * MIB  # a 64 MiB dictionary (xz -9, the most that Habitat writes) and liblzma's own state
XZ_DICTIONARY: Final = 4 * MIB  # what we write at most: twice that costs 94 MiB of encoder for 1 % smaller packages
BUNDLE_SERVICES_MAX: Final = 64  # services of one bundle: a quarter of what a host may have
METAFILE_MAX: Final = 1 * MIB  # one metafile: TDEPS of 2,000 packages take 100 KiB, MANIFEST quotes a whole plan
METAFILES_MAX: Final = 8 * MIB  # all metafiles of one package, which are read into memory
FILES_LIST_MAX: Final = 64 * MIB  # the signed list of hashes: ARCHIVE_MEMBERS_MAX lines of 320 bytes
HOOK_STATUS_MAX: Final = 16  # bytes of INSTALL_HOOK_STATUS: one exit code
STAGING_TRIES: Final = 16  # a new staging directory, or its parent, is swept away under us only by a race: 16 in a row is no race

# --- holder
UNIX_PATH: Final = 107  # sockaddr_un holds 108 bytes with its NUL; longer paths go through /proc/self/fd
HOLDER_REPLY_S: Final = 30.0  # longer than the slowest honest reply: an exec from a disk that spins up, and its fsync
HOLDER_EVENTS: Final = 10_000  # events that wait for the supervisor; more means it is stuck and had better re-attach
HOLDER_CONNECTIONS: Final = 8  # the supervisor, its successor, a person with a tool
HOLDER_SERVICES: Final = 300  # three descriptors each, a fourth while it is to say that it is ready, under the usual soft limit of 1,024
HOLDER_UNREAD: Final = 1 * MIB  # bytes that a connection may leave unread: the full list several times over
HOLDER_EXEC_S: Final = 10.0  # from the open gate to exec: only a hung file system takes longer, and the loop waits meanwhile
HOLDER_STOP_S: Final = 120.0  # from the first TERM or INT to killing everything: longer than the usual stop timeouts in a row
HOLDER_GRACE_S: Final = 10.0  # from the holder's own TERM to its KILL; Habitat's 8 s and some air
HOLDER_SWEEP_S: Final = 0.5  # wait for killed leftovers to be gone before the next start; only a process in the kernel takes longer
CGROUP_FREEZE_S: Final = 0.1  # for a group of version 1 to stand still before it is killed; only a process in the kernel takes longer
SERVICE_PIDS: Final = 8192  # processes and threads of a service that names no limit: a fork bomb ends there, and large services run
SERVICE_CORE: Final = 0  # bytes of a core dump of a service that names no limit: dumps hold secrets
HOLDER_CHECK_S: Final = 10.0  # for a new holder's program to say that it can take over: an interpreter starts in a tenth of a second
HOLDER_LOCK_S: Final = 2.0  # a dead holder's child keeps the lock until it sees the gate closed
SUPERVISOR_LEAVES_S: Final = 5.0  # a supervisor that lost its holder, or asked for the end, exits in this time or is killed
SUPERVISOR_BACKOFF_S: Final = (0.5, 30.0)  # wait after a second failure in a row, about what a start costs the processor; and the longest
SUPERVISOR_STEADY_S: Final = 5.0  # a supervisor that had attached and lived this long did not die of its start, which takes one or two
LOG_FILE: Final = 10 * MIB  # a service's log is rotated here, and at midnight UTC: an editor opens it
LOG_FILES: Final = 64  # rotated files of one log: two months of a quiet service's days
LOG_KEEP: Final = 50 * MIB  # one log with its rotated files
LOG_KEEP_MIN: Final = 1 * MIB  # the least that may be asked for: a file is a quarter of it
LOG_RATE: Final = 4 * MIB  # bytes a second of one service, on average: 40,000 lines; more is a loop, and would wear out the disk
LOG_BURST: Final = 64 * MIB  # bytes that a service may be ahead of its rate: a start that tells its whole configuration, a dump of threads
NOTIFY_DATAGRAM: Final = 4 * KIB  # one message to a notify socket; a longer one is ignored
NOTIFY_TURN: Final = 16  # messages read in a turn; the kernel keeps 10 in its default
NOTIFY_REST_S: Final = 0.05  # until the next turn: a service that tells its progress in a loop wakes the holder 20 times a second
NOTIFY_STATUS: Final = 200  # characters of STATUS= that are shown
READY_BYTES: Final = 4 * KIB  # read at once of what comes before a newline on a readiness descriptor
READY_FD: Final = 255  # the highest number of one: services choose 3, and the usual limit is 1,024
LOG_REST_S: Final = 0.005  # between two looks at a pipe that is over its rate, 1 MiB each: a flood costs a few per cent of a core
LOG_LINE: Final = 16 * KIB  # a longer line is broken: readers of logs buffer lines
LOG_READ: Final = 64 * KIB  # a read: what a pipe usually holds
LOG_TURN: Final = 256 * KIB  # bytes drained from one service before the others have their turn
LOG_PIPE: Final = 1 * MIB  # what the kernel keeps for us while no holder lives; the most that needs no privilege

# --- supervisor
BACKOFF_MIN_S: Final = 1.0  # the first start after a failure comes within a second (threats P1)
BACKOFF_MAX_S: Final = 60.0  # a service whose database comes back is up a minute later at worst
BACKOFF_LIVED_S: Final = 10.0  # up this long it did not die of its start: the first failure in a row is followed by a start at once
CRASH_LOOP_FAILURES: Final = 3  # in a row: one is an accident, two are bad luck
FAILURES_KEPT: Final = 10  # of the row that is going on, to say what they have in common and since when
BACKOFF_COOLDOWN_S: Final = 300.0  # up this long means that the next failure is a first one; Habitat's figure
READY_DEADLINE_S: Final = 60.0  # from process to ready; a service that warms up longer says so in service.toml
READY_INTERVAL_S: Final = 0.5  # between ready probes: half a second is what a person does not notice
READY_TIMEOUT_S: Final = 2.0  # one ready probe on the same host
TRIAL_S: Final = 10.0  # an update that has served so long is good: what is wrong with a release shows in its first seconds of work
PROBE_INTERVAL_MIN_S: Final = 0.05  # between two probes of a service: a package that asks for less would keep a core busy
SETTLE_S: Final = 1.0  # up this long without any probe counts as ready: a wrong flag or a taken port ends a process sooner
HEALTH_INTERVAL_S: Final = 30.0  # Habitat's default between checks
HEALTH_RETRY_S: Final = 5.0  # after a bad result look again soon, so that three bad ones are seen in seconds
HEALTH_TIMEOUT_S: Final = 5.0  # one http or tcp check; a check that hangs is unknown, and unknown is bad
HEALTH_FAILURES: Final = 3  # bad results in a row that make a service unhealthy: one lost packet is not an outage
HEALTH_SUCCESSES: Final = 1  # good results in a row that make it healthy again; what flaps asks for more in its plan
PROBE_REPLY_MAX: Final = 4 * KIB  # bytes read of an http probe's answer: the status line is the first
SHUTDOWN_TIMEOUT_S: Final = 8.0  # from the shutdown signal to KILL; Habitat's figure
KILL_AGAIN_S: Final = 5.0  # a process stuck in the kernel is told again and reported, never assumed gone
KEPT_DECISIONS: Final = 20  # of each service, for `svc status`: a start, a stop and what went wrong between
HOOK_S: Final[dict[str, float]] = {  # how long each hook may run before its process group is killed (threats S53)
    "install": 600.0,  # may compile or download
    "init": 300.0,  # may migrate a database
    "post-run": 60.0,
    "ready": 10.0,
    "health-check": 10.0,
    "reconfigure": 60.0,
    "file-updated": 60.0,
    "suitability": 10.0,
    "pre-stop": 60.0,  # may drain connections
    "post-stop": 60.0,
}
HOOK_OUTPUT_MAX: Final = 1 * MIB  # of one run, to the hook's log, times included; the rest is counted and dropped
HOOK_TAIL: Final = 2 * KIB  # the end of its output, shown as the reason
HOOK_LOG_MAX: Final = 2 * MIB  # a hook's log is rotated here: two runs that say all they may
HOOK_LOG_KEEP: Final = 8 * MIB  # a hook's log with its rotated files
HOOK_LINGER_S: Final = 0.5  # for the last output of a hook that has exited, while a child of it holds the pipe
JOB_EVERY_MIN_S: Final = 1.0  # between two runs of a job: what is due more often is a service
JOB_EVERY_MAX_S: Final = 366 * 86_400.0  # a year: longer is a number that was mistyped
JOB_CLOCK_BACK_S: Final = 60.0  # a clock that was set back by more than this makes a schedule count anew
JOB_LOOK_S: Final = 30.0  # between looks at a schedule: somebody may set the clock
JOB_RUNS_KEPT: Final = 10  # of each job, with how they ended
JOB_BOOKS_KEPT: Final = 256  # of jobs that are not loaded any more: whoever asked for a run may ask again how it ended
JOB_AWAY_S: Final = 60.0  # that `run-once` waits for a supervisor that died meanwhile: the holder starts the next within 30
JOB_NOT_RUN, JOB_NO_RESULT, JOB_TIMED_OUT = 126, 125, 124  # exit codes of `run-once`: those of docker, env and timeout
SERVICES_MAX: Final = 256  # services of one host: each costs a poll of its files every second
SPEC_MAX: Final = 64 * KIB  # a spec file
TEMPLATES_MAX: Final = 1000  # templates of one package
TEMPLATE_FILE_MAX: Final = 1 * MIB  # one template of a package
WATCH_S: Final = 1.0  # how often spec files, user.toml and group documents are looked at
UPDATE_PERIOD_S: Final = 60.0  # between questions to the depot; Habitat's figure
UPDATE_PERIOD_MIN_S: Final = 1.0  # below it a depot would be asked without pause
UPDATE_SPREAD: Final = 0.2  # of the period, either way: a hundred hosts do not ask at once (threats S59)
UPDATE_RETRY_MAX_S: Final = 600.0  # between questions to a depot that has not answered for a while
UPDATE_INSTALL_S: Final = 3600.0  # one installation in the background
GROUP_CONFIG_MAX: Final = 64 * KIB  # a group's configuration; Habitat's figure, and what gossip will carry
CONTROL_FRAME_MAX: Final = 192 * KIB  # one request: a group's file and its envelope
CONTROL_REPLY_MAX: Final = 4 * MIB  # one reply: the status of every service with its decisions
CONTROL_REQUEST_S: Final = 5.0  # for a whole request to arrive
CONTROL_CONNECTIONS: Final = 64  # at once; more are closed unread
COMMAND_WAIT_S: Final = 120.0  # how long a command waits for its result: a start deadline and a stop in a row
JOURNAL_MAX: Final = 4 * MIB  # decisions on disk; then the file is rotated, one older file is kept
STOP_ALL_S: Final = 90.0  # all services down when the host is told to end; below the holder's own HOLDER_STOP_S
VERIFY_PERIOD_S: Final = 300.0  # between looks for drift: what was changed by hand at night is back before anybody asks for it
VERIFY_PERIOD_MIN_S: Final = 1.0  # each look reads every rendered file
VERIFY_BYTES: Final = 512 * MIB  # of packages hashed in one look, and the package that is begun to its end: the others have their turn next
VERIFY_SHARE: Final = 0.2  # of a core, and of the disk's time, that hashing in the background takes
VERIFY_WHOLE_S: Final = 24 * 3600.0  # a package whose files look untouched is hashed again after that: disks rot silently
VERIFY_TRIES: Final = 3  # times in a row that one file is put back: then its service itself writes it, and nobody wins
VERIFY_SHOWN: Final = 1000  # findings in one answer: nobody reads more
PACK_PERIOD_S: Final = 60.0  # between looks for rotated logs to compress: a flood rotates one file in three seconds
PACK_SHARE: Final = 0.2  # of a core that compressing takes
PACK_HOOK_S: Final = (
    900.0  # a hook's rotated log is left alone for so long: a hook that had opened it may still write, and none runs longer
)
FAILED_START_MAX: Final = 64 * KIB  # of the output of the last start that failed: a long trace, and not a whole configuration dump
JOURNALD_LOOK_S: Final = 1.0  # between looks at logs that are passed on to systemd's journal
JOURNALD_TRY_S: Final = 15.0  # between tries with a journal that is not there
LOG_LINES: Final = 50  # that `svc logs` shows
LOG_LINES_MAX: Final = 100_000  # that it can be asked for
LOG_WORDS: Final = 4 * KIB  # the end of a log that is looked at for a reason
LOG_WORDS_LINE: Final = 160  # characters of each of them
LOG_WORDS_LINES: Final = 3  # and the lines of it that are told: what a status line can bear

# --- ring
DATAGRAM_MAX: Final = 1400  # bytes of a sealed datagram: fits Ethernet, VPN and cloud paths whole
RING_FRAME_MAX: Final = 256 * KIB  # one frame of a stream: the largest file and its envelope
RING_KEYS_MAX: Final = 5  # one that seals and four that still open: a rotation under way, and one that was forgotten
RING_KEYS_REMOVED: Final = 64  # ids of removed keys that are remembered: five years of a new key each month
RING_KEYS_WAIT_S: Final = 15.0  # for the living members to have taken a change of keys: gossip needs one second, a busy host some
RING_NAME_MAX: Final = 253  # characters of a host's name in an announcement
RING_GENERATION_MAX: Final = 1 << 62  # of generations, incarnations, counters and revisions: far from 64 bits, and nobody counts to it
RING_FACT_MAX: Final = 8 * KIB  # body of one fact: what a member says of one service, exports included
RING_FACTS: Final = HOLDER_SERVICES + 2  # live facts of one member: its services, its host, its keys
RING_FACT_KEYS: Final = 600  # of one member, withdrawn ones included: OwnFacts voids those before they are half of it
RING_MEMBER_BYTES: Final = 512 * KIB  # all facts of one member: 300 of the usual size; one member cannot fill the ring's share alone
RING_FACTS_BYTES: Final = 64 * MIB  # all facts of a ring (threats 2.2): 64 KiB for each of 1,024 members
RING_CONFIG_MAX: Final = 66 * KIB  # body of a group's configuration: GROUP_CONFIG_MAX and who wrote it, when and why
RING_CONFIG_KEPT: Final = 11  # versions of it: the current one and ten to go back to
RING_FILE_MAX: Final = 130 * KIB  # body of a group's file: GROUP_FILE_MAX and who sent it and when; still one frame
RING_NOTE_MAX: Final = 1 * KIB  # body of a document about one member: who dismissed it and why
RING_DOCUMENTS: Final = 2000  # documents of a ring that have a body (threats 2.2)
RING_DOCUMENT_KEYS: Final = 8000  # withdrawn ones included, some 250 bytes each: they must be remembered, or laggards bring them back
RING_DOCUMENTS_BYTES: Final = 64 * MIB  # all documents with their histories (threats 2.2)
RING_REVISION_STEP: Final = 1 << 32  # that a document's revision may advance at once: a wedge takes a billion steps (W23)
RING_RECORD_OVERHEAD: Final = 256  # bytes of memory that a record is counted with beside key and body: a flood of empty ones counts too
RING_SYNC_BYTES: Final = 64 * MIB  # of one conversation, each way; what is left comes with the next one
RING_SYNC_FRAMES: Final = 4096  # of one conversation, each way: 64 MiB in frames of a quarter of the usual size
RING_SYNC_BUCKET: Final = 16_384  # entries of one bucket, a million in all: some 50 ms of comparing at a time
RING_SYNC_WANTS: Final = 400_000  # records asked for in one conversation, 32 bytes each: the facts of 1,024 members and all documents
RING_FETCH_KEYS: Final = 256  # records fetched over one stream: their keys fit one frame
RING_KEY_TEXT_MAX: Final = 512  # characters of a record's key: a group, a file's name, and their words
RING_SAVE_S: Final = 30.0  # between writes of who is there: it only tells a restarted host whom to ask; Habitat's figure
RING_LOOK_S: Final = 2.0  # between looks whether that is to be written: a host that joined and crashed soon after knows whom to ask
RING_ALONE_S: Final = 10.0  # without an answer from anybody until a person is told: names are looked up by then, two wan periods are over
RING_SAVE_APART_S: Final = 10.0  # between two such writes in a ring that comes and goes: a megabyte each, at 1,024 members
RING_STIR_S: Final = 0.05  # many changes of one moment are one for the services: a member that joins brings a dozen facts
RING_DRAIN: Final = 64  # datagrams of one wake-up that a node is given: some 10 ms at most, then services and commands have their turn
RING_LOOKS: Final = 512  # datagrams of one wake-up that are looked at, most of them dropped: 1.5 ms, 250,000 a second
RING_PAUSE_S: Final = 0.005  # after one was dropped unopened: a flood then wakes us 200 times a second, and the kernel's queue holds 50 ms
RING_FAULT_S: Final = 1.0  # after a bug of ours in a tick: the ring goes on, and no core is kept busy with tracebacks
RING_RECEIVE_BUFFER: Final = 4 * MIB  # asked of the kernel, which gives what it allows: a burst waits there while we are busy
RING_BACKLOG: Final = 64  # connections that wait to be accepted
RING_CONNECT_S: Final = 3.0  # for a connection on a network that works
RING_UNREAD: Final = 1 * MIB  # written to a stream and not yet read: conversations take turns with one frame, four are a peer that does not
RING_FIRST_S: Final = 5.0  # for the first whole frame of a stream that another has opened: whoever says nothing holds a place
RING_KNOWN_S: Final = (0.1, 5.0)  # between looks at the members' addresses for budgets: where a member has changed, and else
RING_MEMBER_RATE: Final = 200.0  # datagrams a second from one member: three times what a healing ring sends
RING_MEMBER_BURST: Final = 400.0  # at once: what waited while we were busy
RING_STRANGER_RATE: Final = 500.0  # from all others together: a thousand hosts have joined in seconds, a flood costs 1 % of a core
RING_STRANGER_BURST: Final = 500.0
RING_STRANGER_STREAMS: Final = (20.0, 100.0)  # streams begun a second, and at once, by hosts of no member: who greets first is one
RING_STRANGER_SHARE: Final = 0.25  # of both that one host can use up: 125 supervisors of one host may greet at once
DISCOVERY_S: Final = 30.0  # between questions to name servers: their answers live longer
DISCOVERY_NAME_S: Final = 10.0  # for one name: two tries of the usual resolver
DISCOVERY_NAMES_AT_ONCE: Final = 8  # names that are asked for at once: each is a thread
DISCOVERY_THREADS: Final = 32  # that wait for name servers, of all sources: 64 KiB each, and a resolver may hang for good
DISCOVERY_ROUND_S: Final = 30.0  # for all names of one source: then it is looked at again, and who had no turn is first
DISCOVERY_GREETINGS_S: Final = 64.0  # candidates greeted a second: what neighbours and name servers make us send to others
DISCOVERY_NAME_ADDRESSES: Final = 64  # of one name: a record with all hosts of a ring; a forged one makes us greet no more
DISCOVERY_PEERS_MAX: Final = 1024  # of one watched file, SRV record or network: one that answers is enough
DISCOVERY_FILE_S: Final = 2.0  # between looks at a watched file
DISCOVERY_FILE_MAX: Final = 1 * MIB  # of a watched file: some 50,000 lines
DISCOVERY_ANSWER_S: Final = 3.0  # for a neighbour to say where it is
JOIN_S: Final = (1.0, 30.0)  # first and longest wait between tries of peers that nobody in the ring is: a rebooted rack joins in seconds
RING_STARTS_MISSED: Final = 16  # starts of a member that another may not have heard of when it learns that it is gone for good
RING_STATE_MAX: Final = 256 * KIB  # one file of the ring's state: the largest document with its signature
RING_SAVED_MEMBERS: Final = 1024  # announcements on disk: one that answers is enough, 1.2 KiB each at their largest
RING_ASIDE: Final = 16  # old identities that are kept: for a person who wonders, not for ever
REPLAY_WINDOW: Final = 1024  # packets of one sender that may arrive out of order
REPLAY_SENDERS: Final = 8192  # senders remembered, some 300 bytes each: more than any ring has members

# --- ring: members
RING_MEMBERS_MAX: Final = 10_000  # members of one table, dead ones too: some kilobytes each, and full views are no use beyond
RING_GONE_MAX: Final = 20_000  # forgotten members that may not come back: two rings full
RING_NEWS_MAX: Final = 4096  # items that wait to be told: after a heal every member of a large ring speaks, more is for push/pull
RING_PROBES_MAX: Final = 8  # probes of one member under way at once: its own, and suspects that it looks at for others
RING_RELAYS_MAX: Final = 64  # pings under way for others; 1,024 members at 25 % loss ask each for 1.5 a second
RING_RELAYS_S: Final = 32.0  # such pings begun in a second: what a forger with the key can make us send to others
RING_INCARNATION_JUMP: Final = 1 << 32  # of an incarnation that a claim may force on us: nobody is pushed to the end of the numbers
RING_TOLD: Final = 64  # suspects that are told so in person, in one round of gossip: a healed ring of 1,024 in two seconds
RING_TELL_MAX: Final = 4096  # of them that wait
RING_JOINS_MAX: Final = 64  # unanswered greetings that are remembered: a watched file with a line for each host of a small ring
RING_STRANGERS_S: Final = 4.0  # greetings a second to those who speak to us unknown: an answer to each would be a mirror
RING_STREAMS: Final = 8  # conversations at once, each way
RING_STREAM_S: Final = 10.0  # without progress: longer than a retransmission or three

# --- gateway
GATEWAY_CONNECTIONS: Final = 64  # at once, handshakes too: a few scrapers and people; each may hold the largest answer of some MiB
GATEWAY_CONNECTION_S: Final = (
    30.0  # from accepting to the last byte read: a slow line takes a few MiB in it, a slow client no place for ever
)
GATEWAY_HANDSHAKE_S: Final = 5.0  # for TLS: several round trips around the world
GATEWAY_RETRY_S: Final = 10.0  # between two tries to listen where somebody else does, or with a certificate that is not there
GATEWAY_LINE: Final = 8190  # bytes of the request line or of one header field: the common servers' limit
GATEWAY_HEADERS: Final = 64  # fields of one request: browsers send some twenty
GATEWAY_PORTS: Final = 100  # tried upwards where the usual one is taken: more supervisors than anybody runs on one host
RING_JOIN_S: Final = 10.0  # that `ring join` waits for an answer: a name to look up, and a probe or two
RING_WHY_MAX: Final = 200  # characters of the reason for a departure: one line of everybody's journal
RING_SHOWN: Final = 5000  # members or records in one answer: below what one reply of the control socket can carry
RING_SHOWN_BYTES: Final = 1 * MIB  # of bodies in one answer: a hex or escaped one takes some times its size, and a reply has 4 MiB

# --- groups: configuration and files by the ring, and what members tell of their services
GROUP_FILE_MAX: Final = 128 * KIB  # a file for a group's services (threats 2.2); Habitat takes 64
GROUP_FILE_NAME: Final = 128  # characters of its name: what the ring's keys have room for
GROUP_BY_MAX: Final = 256  # characters of who wrote a document: a login name and a host's name
GROUP_WHY_MAX: Final = 500  # characters of the reason that is given with it: a line or two of a history
CONFIG_SHOWN: Final = 2000  # rows of one difference between two versions: nobody reads more
FACT_BECAUSE: Final = 300  # characters of a reason that a member tells the ring: its fact has 8 KiB, and exports are more important
FACT_NAME: Final = 253  # characters of a host's name, an address, or an export's name
FACT_WORD: Final = 32  # characters of a state's word: a later release may have others
ACQUAINTANCE_S: Final = 5.0  # after a start, for the others to be heard of: a join and a sync take less than one

# --- depot server
TOKEN_LIFE_MAX_S: Final = 10 * 31_536_000  # a token that outlives ten years is one that nobody remembers
CATALOG_READERS: Final = 4  # threads that read: a slow list must not hold up the others, and each costs a connection's cache
CATALOG_CHECKPOINT_PAGES: Final = 1000  # of 4 KiB: SQLite's own default, 4 MiB of log to read again after a crash
UPLOAD_MAX: Final = 8 * GIB  # default of --max-upload: the largest packages known (toolchains, models) have some 5 GiB
UPLOAD_GRACE_S: Final = 30.0  # before the lowest rate counts: slow starts and proxies that fill up first
UPLOAD_SLOWEST: Final = 4 * KIB  # bytes a second on average: slower is a stuck client, and each holds a place
UPLOAD_SILENCE_S: Final = 30.0  # without any byte: the client has gone
UPLOADS: Final = 100  # under way at once: each holds a file and up to UPLOAD_BATCH of memory twice
UPLOAD_BATCH: Final = 512 * KIB  # collected before it goes to a thread: one hop costs about what writing 100 KiB does
PUBLISHERS: Final = 4  # threads that write and verify uploads: the disk and two cores are busy with that many
REQUEST_TEXT_MAX: Final = 64 * KIB  # of a JSON body: ours have a name in them
LIST_ALL: Final = 10_000  # rows of a list that asks for everything: some 1.5 MiB of JSON
SEARCH_TERMS: Final = 8  # words of one search, each an index range
DOWNLOAD_GRACE_S: Final = 60.0  # on top of the time that the slowest reader may take
DOWNLOAD_SLOWEST: Final = 4 * KIB  # bytes a second on average: slower holds a connection and a file for nothing
PROVEN: Final = 10_000  # blobs remembered as whole, some 300 bytes each
PROVEN_S: Final = 3600.0  # until a blob is hashed again while it is read: bounds how long bit rot goes unseen
TOKEN_TOUCH_S: Final = 60.0  # between two notes of a token's last use: each is a commit
KEEPALIVE_S: Final = 15.0  # an idle connection: longer than the pauses of an install, shorter than a proxy's patience
HEADER_S: Final = 15.0  # from connecting to a whole request head; slower is slowloris
HEADER_LINE: Final = 8190  # bytes of the request line or of one header field: the common servers' limit
SHUTDOWN_S: Final = 30.0  # for requests under way when the server is told to stop
ADMIN_LINE: Final = 16 * KIB  # a request on the admin socket: a hundred scopes
ADMIN_ANSWER: Final = 16 * MIB  # its answer: a list of some 50,000 tokens
ADMIN_S: Final = 10.0  # for a server that starts, stops, or checks its catalog, to answer on the admin socket
ADMIN_RETRY_S: Final = 0.1  # between two looks whether it is there
CHECK_ROWS: Final = 500  # rows of one question while everything is walked
SHUTDOWN_CUT_S: Final = 1.0  # after that, for connections to notice that they are cut
LOGGED_PATH: Final = 512  # characters of a path in the log
DISK_RESERVE: Final = 16 * MIB  # left free by uploads: the catalog's log and a checkpoint still fit on a "full" disk
ORPHAN_AGE_S: Final = 24 * 3600.0  # of a blob without a package: longer than any upload between its link and its commit
CATALOG_BUSY_S: Final = 5.0  # only a foreign program can hold the lock, for example a backup

# --- templates
TEMPLATE_MAX: Final = 1 * MIB  # source of one template; the largest of Habitat's core plans has 90 KiB
TEMPLATE_WORDS: Final = 20_000  # in the tags of one template: about a second of compiling
TEMPLATE_DEPTH: Final = 16  # blocks within blocks; Python compiles at most 20 loops within loops
TEMPLATE_BRANCHES: Final = 100  # `else if` of the blocks open at one place; each is a level in Python's own parser
TEMPLATE_EXPRESSION_DEPTH: Final = 16  # (helper (helper …)): nobody reads more
TEMPLATE_ARGUMENTS: Final = 100  # values that one helper is given
TEMPLATE_PATH_PARTS: Final = 32  # of a path with its ../: configuration itself is at most CONFIG_DEPTH deep
TEMPLATE_LOOPS: Final = 10_000  # turns of all loops in one rendering (threats 3.4)
TEMPLATE_STEPS: Final = 2_000_000  # turns times the pieces of the loop's body: about half a second
TEMPLATE_MADE: Final = 8 * MIB  # characters that helpers make in one rendering, most of it thrown away
TEMPLATE_OUTPUT: Final = 1 * MIB  # bytes of one rendered file (threats 3.4)
TEMPLATE_DATA_DEPTH: Final = 64  # of a value that is written out whole; deeper is no configuration

# --- configuration
CONFIG_DEPTH: Final = 30  # tables within tables; Habitat's figure for its merge
CONFIG_ENVIRONMENT_MAX: Final = 128 * KIB  # of HAB_<NAME>; the kernel's own cap of one variable (MAX_ARG_STRLEN)
SCHEMA_MAX: Final = 256 * KIB  # source of one config.schema.json
SCHEMA_DEPTH: Final = 40  # tables within tables in a schema: each level of configuration takes two at most
SCHEMA_SIZE: Final = 10_000  # schemas in a schema, each `$ref` counted with all that it leads to: every value could meet all of them
SCHEMA_PATTERN_MAX: Final = 256  # characters of a `pattern`
SCHEMA_STRING_MAX: Final = 4 * KIB  # characters of a value that a `pattern` is tried on: bounds what backtracking can cost
PATTERN_STEPS: Final = 100_000_000  # of backtracking, by the pattern's own reckoning: a second or two
CONFIG_PROBLEMS_MAX: Final = 100  # problems reported at once: nobody reads more
