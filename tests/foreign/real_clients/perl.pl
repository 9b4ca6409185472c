# Perl's LWP. `perl perl.pl KEEP_SECS URLS LANES REQUESTS GAPS BODY`; the lanes, and what is printed, are
# described in trial.rs. Before each request, connections older than KEEP_SECS are dropped by the method
# of LWP::ConnCache for that; 0 is the default: never.

use strict;
use warnings;
use LWP::ConnCache;
use LWP::Protocol::http;
use LWP::UserAgent;
use Time::HiRes qw(sleep time);

# LWP loads LWP::Protocol::http at the first request. It is loaded above, once, since loading it in every
# lane would delay requests.
use constant STAGGER_SECS => 0.004;

my ($keep_secs, $urls, $lanes, $requests_each, $gaps, $body) = @ARGV;
my @urls = split /,/, $urls;
my @gaps_secs = map { $_ / 1000 } split /,/, $gaps;

# One process for each lane. A line is empty for an answer, or has an error's text, or the greatest delay
# of the lane. It is shorter than
# PIPE_BUF, so that lines of several processes do not mix.
# Loading it in each process would take more time than everything else.
require LWP::Protocol::https if $urls =~ /^https:/;

pipe(my $reader, my $writer) or die "pipe: $!";
for my $lane (0 .. $lanes - 1) {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        run_lane($lane);
        exit 0;
    }
}
close $writer;

my ($answered, $lost, $late_millis, %errors) = (0, 0, 0);
while (my $line = <$reader>) {
    chomp $line;
    if ($line =~ /^late (\d+)$/) { $late_millis = $1 if $1 > $late_millis }
    elsif ($line eq '') { $answered++ } else { $lost++; $errors{$line}++ }
}
1 while wait != -1;
print "version=LWP $LWP::UserAgent::VERSION, Perl $^V\n";
print "error=$errors{$_} $_\n" for keys %errors;
print "late=$late_millis\n";
print "answered=$answered lost=$lost\n";

sub run_lane {
    my ($lane) = @_;
    my $cache = LWP::ConnCache->new(total_capacity => 1);
    my $agent = LWP::UserAgent->new(conn_cache => $cache, timeout => 30);
    sleep($lane * STAGGER_SECS);
    my $late_secs = 0;
    for my $request (0 .. $requests_each - 1) {
        my $gap_secs = $request ? $gaps_secs[($lane + $request) % @gaps_secs] : 0;
        my $due = time + $gap_secs;
        sleep($gap_secs);
        $late_secs = time - $due if time - $due > $late_secs;
        $cache->drop($keep_secs) if $keep_secs;
        my $response = $agent->get($urls[$lane % @urls]);
        my $is_answer = $response->code == 200 && $response->content eq $body;
        my $text = $is_answer ? '' : $response->status_line;
        $text =~ s/\s+/ /g;
        syswrite $writer, substr($text, 0, 1000) . "\n";
    }
    syswrite $writer, sprintf("late %d\n", 1000 * $late_secs);
}
