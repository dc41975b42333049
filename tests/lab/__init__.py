"""A real SLURM, and hosts for multi-host Ray, on one machine.

    python -m tests.lab up --nodes 3 [--name NAME] [--share FOLDER]
    eval "$(python -m tests.lab env)"       # SLURM_CONF and the rest: sbatch, squeue now work
    sbatch --wrap hostname
    python -m tests.lab cut n2              # n2 falls silent; heal n2 brings it back
    python -m tests.lab kill n3             # as if its power went; revive n3 boots it
    python -m tests.lab run n1 -- squeue
    python -m tests.lab down

It needs Linux, root, `slurm-wlm`, `munge`, `iproute2` and `util-linux`. Several labs may be up at
once under different names. Up a name again and the old lab of that name goes first.

What is what:

- The **login node** is the machine itself, with the address `Lab.address` on the lab's bridge.
  slurmctld and munged run on it.
- A **node** (`n1`, `n2`, …) is a set of namespaces: its own network, host name, processes, `/tmp`
  and `/dev/shm`. So a pid of one node means nothing on another, a node's address is its own, and
  what is written to `/tmp` on one is not seen on another. Users and all other folders are shared.
- **Shared folders.** Below `/tmp` nodes see only: the lab's own folder, the checkout and the Python
  that runs this if they are there, and what `--share` names. Put an `ORRERY_HOME` into
  `Lab.shared` (`$ORRERY_LAB_SHARED`), or share its folder; one elsewhere below `/tmp` is *not* on
  a shared file system. `hide` takes any folder from a node's sight.
- Each node says that it has 4 CPUs and 8 GiB whatever the machine has, so that scheduling can be
  tested; nothing enforces it. So each node's Ray sees the whole machine unless told otherwise.
- **Users**: `Lab.ask(["sbatch", …], user="games")` and the like run as another account of the
  system, on the login node or on a node. Jobs of several users share a node. For `orrery` itself
  the Python and the checkout must be readable to all.

SLURM here is quick: a silent node is down after about 30 s, a requeued job may run again after 7 s,
killed jobs have 5 s between SIGTERM and SIGKILL. Partitions (all on all nodes):

- `normal`, the default: a job that is to be preempted goes on for 5 s, of which its steps (what
  `srun` has started) are told by SIGTERM and its batch script is not; then as in
- `abrupt`: SIGTERM to all, SIGKILL 5 s later, back into the queue;
- `urgent`: preempts both;
- `brief`: at most one minute. A longer job is refused by sbatch.

There is no accounting: `sacct` fails. That is the point: unknown is never failed.

Failures are a real cluster's. A node that is cut off or killed sends nothing, not even "no route to
host", and no connection is closed. A node that boots has an empty `/tmp`. slurmctld that ends by
`stop_controller(crash=True)` forgets its last seconds, with the jobs of those seconds.

Ray of several hosts works here as anywhere: a head on the login node with
`ray start --head --node-ip-address=$ORRERY_LAB_ADDRESS --port=<a free one>`, and in jobs
`ray start --address=… --node-ip-address=<the node's> --num-cpus=… --block`. What it takes:

- Name the head's address. Ray on the login node finds the machine's own otherwise; on a node it
  finds the right one by itself, as the node's default route leads to the login node.
- Ports on the login node are shared by all that runs on the machine, other labs' heads too: take
  free ones, and a token (`RAY_AUTH_MODE=token`, `RAY_AUTH_TOKEN_PATH` on a shared folder, 0600). A
  node's ports are its own, and so is its `/tmp`: raylets that start together do not meet.
- Say `--num-cpus` and `--object-store-memory` (a node's `/dev/shm` has 2 GiB, all nodes share the
  machine's memory).
- Set the health check and keep-alive variables before the head and the workers start, or a cut is
  noticed after minutes.
"""
