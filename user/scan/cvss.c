// SPDX-License-Identifier: MIT
#include "scan/cvss.h"

#include <math.h>
#include <string.h>

/* Metrics of the base score with their values' weights (CVSS 3.1, section 7.4). Of PR they are for an unchanged scope. */
static const struct metric {
	const char *name;
	struct {
		char value;
		double weight;
	} values[4];
} metrics[] = {
	{"AV", {{'N', 0.85}, {'A', 0.62}, {'L', 0.55}, {'P', 0.2}}},
	{"AC", {{'L', 0.77}, {'H', 0.44}}},
	{"PR", {{'N', 0.85}, {'L', 0.62}, {'H', 0.27}}},
	{"UI", {{'N', 0.85}, {'R', 0.62}}},
	{"S", {{'U', 0}, {'C', 1}}},
	{"C", {{'H', 0.56}, {'L', 0.22}, {'N', 0}}},
	{"I", {{'H', 0.56}, {'L', 0.22}, {'N', 0}}},
	{"A", {{'H', 0.56}, {'L', 0.22}, {'N', 0}}},
};
enum { AV, AC, PR, UI, S, C, I, A };

/* The value of a metric, or NUL: "/AV:N". */
static char value_of(const char *vector, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strchr(vector, '/'); p; p = strchr(p, '/')) {
		p++;
		if (!strncmp(p, name, n) && p[n] == ':' && p[n + 1] &&
		    (p[n + 2] == '/' || !p[n + 2]))
			return p[n + 1];
	}
	return '\0';
}

static int weigh(const char *vector, double w[ARRAY_SIZE(metrics)])
{
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		char v = value_of(vector, metrics[i].name);
		size_t k = 0;

		while (k < ARRAY_SIZE(metrics[i].values) && metrics[i].values[k].value != v)
			k++;
		if (!v || k == ARRAY_SIZE(metrics[i].values))
			return -EINVAL;
		w[i] = metrics[i].values[k].weight;
		if (i == PR && value_of(vector, "S") == 'C')
			w[i] = v == 'L' ? 0.68 : v == 'H' ? 0.5 : w[i];
	}
	return 0;
}

/* Roundup() of appendix A, in tenths: as integers, so that all get the same. */
static int round_up(double v)
{
	long n = lround(v * 100000);

	return n % 10000 == 0 ? (int)(n / 10000) : (int)(n / 10000) + 1;
}

int cvss_score(const char *vector)
{
	double w[ARRAY_SIZE(metrics)], iss, impact, exploitability, sum;

	if (strncmp(vector, "CVSS:3.0/", 9) && strncmp(vector, "CVSS:3.1/", 9))
		return -EINVAL;
	if (weigh(vector, w) < 0)
		return -EINVAL;
	iss = 1 - (1 - w[C]) * (1 - w[I]) * (1 - w[A]);
	impact = w[S] > 0 ? 7.52 * (iss - 0.029) - 3.25 * pow(iss - 0.02, 15) : 6.42 * iss;
	if (impact <= 0)
		return 0;
	exploitability = 8.22 * w[AV] * w[AC] * w[PR] * w[UI];
	sum = w[S] > 0 ? 1.08 * (impact + exploitability) : impact + exploitability;
	return round_up(fmin(sum, 10));
}

enum severity cvss_severity(int score)
{
	return score >= 90   ? SEVERITY_CRITICAL
	       : score >= 70 ? SEVERITY_HIGH
	       : score >= 40 ? SEVERITY_MEDIUM
			     : SEVERITY_LOW;
}

int cvss_word(const char *word)
{
	static const struct {
		const char *word;
		enum severity severity;
	} words[] = {{"negligible", SEVERITY_LOW}, {"minor", SEVERITY_LOW},
		     {"low", SEVERITY_LOW},	   {"moderate", SEVERITY_MEDIUM},
		     {"medium", SEVERITY_MEDIUM},  {"important", SEVERITY_HIGH},
		     {"high", SEVERITY_HIGH},	   {"critical", SEVERITY_CRITICAL}};

	for (size_t i = 0; word && i < ARRAY_SIZE(words); i++)
		if (!strcasecmp(word, words[i].word))
			return words[i].severity;
	return -EINVAL;
}
