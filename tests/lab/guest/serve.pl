#!/bin/perl
# The guest's servers, in one process: HTTP on VFW_TCP's ports, an echo on
# VFW_UDP's, HTTP over SCTP on VFW_SCTP's, and an agent on the second serial
# port that runs commands. Each answer begins "GUEST PORT CLIENT", the client as
# the guest sees it, so that a test can tell whether addresses were kept.
# Perl, since busybox in Debian has no server that knows its client, and
# perl-base is the smallest thing with sockets on every Debian system.
use strict;
use warnings;
use Socket qw(:DEFAULT pack_sockaddr_in6 getnameinfo IN6ADDR_ANY IPPROTO_IPV6
  IPV6_V6ONLY NI_NUMERICHOST NI_NUMERICSERV);
use Fcntl;

my $name = pack 'H*', $ENV{VFW_NAME} || '';
my ($sctp, %listener, %udp, %conn) = (132);
$SIG{CHLD} = $SIG{PIPE} = 'IGNORE';

sub open_port {
    my ($type, $proto, $port) = @_;
    socket(my $sock, AF_INET6, $type, $proto) or die "socket: $!";
    setsockopt $sock, SOL_SOCKET, SO_REUSEADDR, 1;
    setsockopt $sock, IPPROTO_IPV6, IPV6_V6ONLY, 0;
    bind $sock, pack_sockaddr_in6($port, IN6ADDR_ANY) or die "bind $port: $!";
    return $sock;
}

sub peer {
    my (undef, $host) = getnameinfo(shift, NI_NUMERICHOST | NI_NUMERICSERV);
    $host =~ s/^::ffff:|%.*//g;
    return $host;
}

# A connection stays open for further requests, so that tests can watch what
# becomes of it; a line that is no request is echoed, after the same beginning.
sub answer {
    my $fd = shift;
    my ($sock, $port, $client) = @{ $conn{$fd} };
    my $read = sysread $sock, $conn{$fd}[3], 4096, length $conn{$fd}[3];
    return delete $conn{$fd} if !$read;
    while ($conn{$fd}[3] =~ s/\A(?:([A-Z]+ \S+ HTTP.*?\r?\n\r?\n)|(?![A-Z]+ \S+ HTTP)(.*)\n)//s) {
        my $body = "$name $port $client";
        if (defined $1) {
            my $close = $1 =~ /^Connection: *close/im;
            syswrite $sock, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
              . 'Content-Length: ' . length($body) . "\r\n"
              . ($close ? "Connection: close\r\n" : '') . "\r\n$body";
            return delete $conn{$fd} if $close;
        }
        else {
            syswrite $sock, "$body $2\n";
        }
    }
}

# A command is a line "HEX", its answer "STATUS HEX"; hex needs no escapes on a
# terminal line. In a child, since a test's command may well take its time.
sub run_command {
    my ($tty, $line) = @_;
    return if fork;
    $SIG{CHLD} = 'DEFAULT';
    my $command = pack 'H*', $line;
    open my $out, '-|', 'sh', '-c', "exec 2>&1\n$command" or exit 1;
    my $text = do { local $/; <$out> };
    close $out;
    my $reply = sprintf "%d %s\n", $? >> 8, unpack 'H*', defined $text ? $text : '';
    while (length $reply) {
        my $done = syswrite $tty, $reply;
        substr $reply, 0, $done, '' if $done;
    }
    exit 0;
}

# First, as opening it throws away what has come in.
sysopen my $tty, '/dev/ttyS1', O_RDWR | O_NOCTTY or die "ttyS1: $!";
for my $port (split /,/, $ENV{VFW_TCP}) {
    my $sock = open_port(SOCK_STREAM, 6, $port);
    listen $sock, 64;
    $listener{ fileno $sock } = [$sock, $port];
}
for my $port (split /,/, $ENV{VFW_SCTP}) {
    my $sock = open_port(SOCK_STREAM, $sctp, $port);
    listen $sock, 64;
    $listener{ fileno $sock } = [$sock, $port];
}
for my $port (split /,/, $ENV{VFW_UDP}) {
    my $sock = open_port(SOCK_DGRAM, 17, $port);
    $udp{ fileno $sock } = [$sock, $port];
}
my $line = '';
print {*STDERR} "lab: serving\n";

while (1) {
    my $ready = '';
    vec($ready, $_, 1) = 1 for keys %listener, keys %udp, keys %conn, fileno $tty;
    select $ready, undef, undef, undef;
    if (vec $ready, fileno $tty, 1) {
        sysread $tty, $line, 4096, length $line;
        run_command($tty, $1) while $line =~ s/\A([^\n]*)\n//;
    }
    for my $fd (grep { vec $ready, $_, 1 } keys %conn) { answer($fd) }
    for my $fd (grep { vec $ready, $_, 1 } keys %udp) {
        my ($sock, $port) = @{ $udp{$fd} };
        my $from = recv $sock, my $data, 2048, 0;
        send $sock, "$name $port " . peer($from) . " $data", 0, $from if $from;
    }
    for my $fd (grep { vec $ready, $_, 1 } keys %listener) {
        my ($listening, $port) = @{ $listener{$fd} };
        my $from = accept my $sock, $listening or next;
        $conn{ fileno $sock } = [$sock, $port, peer($from), ''];
    }
}
