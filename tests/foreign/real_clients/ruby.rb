# Ruby's Net::HTTP. `ruby ruby.rb KEEP_SECS URLS LANES REQUESTS GAPS BODY`; the lanes, and what is printed,
# are described in trial.rs. KEEP_SECS is how long a connection is reused, 0 for the default.

require "net/http"

STAGGER_SECS = 0.004

keep_secs = ARGV[0].to_i
urls = ARGV[1].split(",").map { |url| URI(url) }
lanes, requests_each = ARGV[2].to_i, ARGV[3].to_i
gaps_secs = ARGV[4].split(",").map { |millis| millis.to_i / 1000.0 }
body = ARGV[5]

outcomes = Queue.new
delays_secs = Queue.new

threads = (0...lanes).map do |lane|
  Thread.new do
    sleep(lane * STAGGER_SECS)
    url = urls[lane % urls.size]
    # A proxy that the environment names is not used.
    http = Net::HTTP.new(url.host, url.port, nil)
    http.use_ssl = url.scheme == "https"
    http.ca_file = ENV["SSL_CERT_FILE"]
    http.keep_alive_timeout = keep_secs if keep_secs > 0
    begin
      http.start
    rescue StandardError => error
      requests_each.times { outcomes << "#{error.class}: #{error.message}" }
      next
    end
    requests_each.times do |request|
      gap_secs = request > 0 ? gaps_secs[(lane + request) % gaps_secs.size] : 0
      due = Process.clock_gettime(Process::CLOCK_MONOTONIC) + gap_secs
      sleep(gap_secs)
      delays_secs << Process.clock_gettime(Process::CLOCK_MONOTONIC) - due
      begin
        response = http.request(Net::HTTP::Get.new(url))
        answered = response.code == "200" && response.body == body
        outcomes << (answered ? nil : "#{response.code} #{response.body}")
      rescue StandardError => error
        outcomes << "#{error.class}: #{error.message}"
      end
    end
    http.finish if http.started?
  end
end
threads.each(&:join)

errors = Hash.new(0)
answered = 0
until outcomes.empty?
  error = outcomes.pop
  error ? errors[error] += 1 : answered += 1
end
puts "version=Ruby #{RUBY_VERSION}"
errors.each { |text, count| puts "error=#{count} #{text}" }
late_secs = 0
late_secs = [late_secs, delays_secs.pop].max until delays_secs.empty?
puts "late=#{(late_secs * 1000).to_i}"
puts "answered=#{answered} lost=#{errors.values.sum}"
