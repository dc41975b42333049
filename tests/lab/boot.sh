# The first process of a node. Usage: boot.sh NAME FOLDER SHARED...
# It gives the node its own /tmp, /dev/shm and names, waits for a line that says that the network
# is there, starts slurmd, and then only collects the dead.
set -eu
name=$1 folder=$2
shift 2

echo "$name" > /proc/sys/kernel/hostname
mount --bind "$folder/../../hosts" /etc/hosts
# No name server answers here; an empty list fails at once where a real one would be waited for.
[ ! -e /etc/resolv.conf ] || mount --bind "$folder/../../resolv.conf" /etc/resolv.conf

mount -t tmpfs -o size=2g,mode=1777 tmpfs /dev/shm

for shared; do
  mkdir -p "$folder$shared"
  mount --rbind "$shared" "$folder$shared"
done
mount --rbind "$folder/tmp" /tmp

read -r _go
export SLURM_CONF
# -b: the node has booted now, not when the machine did; SLURM then knows that its jobs are gone.
slurmd -D -b -N "$name" -f "$SLURM_CONF" < /dev/null &
while :; do
  sleep 3600 &
  wait
done
